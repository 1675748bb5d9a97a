//! `gatehouse worker enroll`, `update` and `photo`: reads the photos and sends them with the
//! request.

use std::{
    io::{IsTerminal, Write as _},
    path::PathBuf,
};

use clap::Args;

use super::{super::Context, file::photo, id_card};
use crate::{
    control::Request,
    roster::{IdType, Particulars, Person, Terms, WorkerId},
    services::{
        Enroll, EnrollResult, Enrolled, Hint, Live, PHOTOS_MAX, Photo, Update, UpdateFaces,
    },
    words::counted,
};

#[derive(Args)]
pub(in crate::cli) struct EnrollArgs {
    /// The worker's id at this site: 1 to 32 characters of A-Z, a-z, 0-9, -, _ and . An id is never
    /// used again
    #[arg(long)]
    id: WorkerId,
    /// The name, as it is in the ID document
    #[arg(long, required_unless_present = "from_reader")]
    name: Option<String>,
    /// The team; timesheets are grouped by team
    #[arg(long)]
    team: String,
    /// The labour contractor of the team
    #[arg(long)]
    contractor: String,
    /// The worker's trade: steel fixer, carpenter
    #[arg(long)]
    trade: String,
    /// Number of the resident identity card, or of the document in --id-type; stored encrypted
    #[arg(long, value_name = "NUMBER", required_unless_present = "from_reader")]
    id_number: Option<String>,
    /// Read name, number, gender and birth date from the resident identity card on the reader at this
    /// serial port of this machine
    #[arg(long, value_name = "PORT")]
    from_reader: Option<PathBuf>,
    /// A photo (JPEG, PNG, WebP, BMP or TIFF) that shows only this worker; at most five. Without
    /// --photo and --lane the worker has no face template: a guard must then use `gatehouse lane
    /// release --worker`
    #[arg(long, value_name = "FILE", conflicts_with = "lane")]
    photo: Vec<PathBuf>,
    #[command(flatten)]
    live: Option<Live>,
    /// resident, passport, hk_macao_permit or taiwan_permit
    #[arg(long, value_name = "TYPE", default_value = "resident")]
    id_type: IdType,
    #[command(flatten)]
    twin: Twin,
    /// Accept a date that seems to lie in the future while the clock is not synchronised
    #[arg(long)]
    yes: bool,
    // Last, because clap gives its heading to all options that follow.
    #[command(flatten)]
    terms: Terms,
    #[command(flatten)]
    particulars: Particulars,
}

/// Options for faces that look like another worker's, or unlike the worker's own.
#[derive(Args)]
struct Twin {
    /// The reason, in your own words; recorded
    #[arg(long)]
    reason: Option<String>,
    /// Accept a face that looks like another worker's, for example of twins; recorded
    #[arg(long, requires = "reason")]
    allow_duplicate_face: bool,
}

#[derive(Args)]
#[group(id = "faces", required = true, multiple = false, args = ["add", "replace", "erase", "lane"])]
pub(in crate::cli) struct Photos {
    /// The worker's id
    id: WorkerId,
    /// Add this photo to the worker's photos. Repeat the option for more; at most five in all
    #[arg(long, value_name = "FILE")]
    add: Vec<PathBuf>,
    /// Replace all photos of the worker with this one. Repeat the option for more
    #[arg(long, value_name = "FILE")]
    replace: Vec<PathBuf>,
    #[command(flatten)]
    live: Option<Live>,
    /// Erase templates and photos, and the number of the consent form. The worker stays on the
    /// roster. Where the worker withdraws the consent, use `worker consent`
    #[arg(long, requires = "reason")]
    erase: bool,
    /// Number of the consent form, if none was given before
    #[arg(long, value_name = "FORM-NUMBER")]
    consent: Option<String>,
    #[command(flatten)]
    twin: Twin,
}

/// Reads photos from files. Returns their names and sizes for the request, and their bytes.
fn read(paths: &[PathBuf]) -> anyhow::Result<(Vec<Photo>, Vec<Vec<u8>>)> {
    anyhow::ensure!(paths.len() <= PHOTOS_MAX, "give at most {PHOTOS_MAX} photos");
    let read = |path: &PathBuf| photo(path, path.display().to_string());
    let all: anyhow::Result<Vec<_>> = paths.iter().map(read).collect();
    Ok(all?.into_iter().unzip())
}

/// Prints each hint of a live capture. A terminal shows the latest hint on one line; elsewhere each
/// change is a line.
fn show_hints() -> impl FnMut(Hint) {
    let (terminal, mut last) = (std::io::stderr().is_terminal(), None);
    move |hint: Hint| {
        let what = if hint.hint.is_empty() { "good" } else { &hint.hint };
        let line = format!("good pictures {}/{}: {what}", hint.good, hint.wanted);
        if last.as_ref() == Some(&line) {
            return;
        }
        let mut stderr = std::io::stderr();
        // A hint that cannot be printed does not end the capture.
        let _ =
            if terminal { write!(stderr, "\r\x1b[2K{line}") } else { writeln!(stderr, "{line}") };
        last = Some(line);
    }
}

/// Sends the request. `request` makes it; its argument says whether the user confirmed the dates
/// that look mistyped.
async fn ask(
    context: &Context,
    yes: bool,
    request: impl Fn(bool) -> Request,
    photos: &[Vec<u8>],
    live: bool,
) -> anyhow::Result<Enrolled> {
    super::super::confirmed(yes, "Is the value right?", async |confirmed| {
        let mut client = context.client().await?;
        let done = client.ask_with(&request(confirmed), photos, show_hints()).await;
        if live && std::io::stderr().is_terminal() {
            eprintln!();
        }
        Ok(done?)
    })
    .await
}

/// Says on stderr which further photo would help.
fn advise(done: &Enrolled) {
    if let Some(advice) = &done.advice {
        eprintln!("hint: {advice}");
    }
}

pub(super) async fn enroll(context: &Context, arguments: EnrollArgs) -> anyhow::Result<()> {
    let (announced, photos) = read(&arguments.photo)?;
    let live = arguments.live.is_some();
    let mut arguments = arguments;
    if let Some(port) = arguments.from_reader.take() {
        let card = id_card::read(port).await?;
        let EnrollArgs { name, id_number, id_type, particulars, .. } = &mut arguments;
        id_card::fill(&card, *id_type, (name, id_number), particulars)?;
    }
    let EnrollArgs { id, name, team, contractor, trade, id_number, .. } = arguments;
    // clap requires both without a reader, and the reader's card has both.
    let (name, id_number) = (name.unwrap_or_default(), id_number.unwrap_or_default());
    let person = Person { id, name, team, contractor, trade };
    let enroll = Enroll {
        terms: arguments.terms,
        particulars: arguments.particulars,
        photos: announced,
        live: arguments.live,
        allow_duplicate_face: arguments
            .twin
            .reason
            .clone()
            .filter(|_| arguments.twin.allow_duplicate_face),
        reason: arguments.twin.reason,
        ..Enroll::new(person, arguments.id_type, id_number)
    };
    let request = |confirmed| Request::Enroll(Box::new(Enroll { confirmed, ..enroll.clone() }));
    let done = ask(context, arguments.yes, request, &photos, live).await?;
    show_turned(&done);
    advise(&done);
    context.print(&done.worker, |w| {
        let Person { id, name, .. } = &w.person;
        match w.templates {
            0 => format!(
                "{id} {name} is enrolled without a face template: the worker needs a card (`gatehouse \
                 worker card {id} --add NUMBER`) or a guard (`gatehouse lane release LANE --worker {id} …`)"
            ),
            n => format!("{id} {name} is enrolled, with {}", counted(n, "template")),
        }
    })
}

pub(super) async fn update(context: &Context, update: Update) -> anyhow::Result<()> {
    let request = |confirmed| Request::Update(Box::new(Update { confirmed, ..update.clone() }));
    print_updated(context, &ask(context, update.confirmed, request, &[], false).await?)
}

pub(super) async fn photos(context: &Context, photos: Photos) -> anyhow::Result<()> {
    let (faces, files) = match &photos.live {
        Some(_) => (UpdateFaces::Replace, Vec::new()),
        None if photos.erase => (UpdateFaces::Erase, Vec::new()),
        None if photos.add.is_empty() => (UpdateFaces::Replace, photos.replace),
        None => (UpdateFaces::Add, photos.add),
    };
    let (announced, bytes) = read(&files)?;
    let Twin { allow_duplicate_face, reason } = photos.twin;
    let live = photos.live.is_some();
    let update = Update {
        terms: Terms { consent: photos.consent, ..Terms::default() },
        faces,
        photos: announced,
        live: photos.live,
        allow_duplicate_face: reason.clone().filter(|_| allow_duplicate_face),
        reason,
        ..Update::nothing(photos.id)
    };
    let request = |_| Request::Update(Box::new(update.clone()));
    print_updated(context, &ask(context, false, request, &bytes, live).await?)
}

/// Prints which photos were turned.
fn show_turned(done: &Enrolled) {
    done.turned.iter().for_each(|turned| eprintln!("{turned}"));
}

fn print_updated(context: &Context, done: &Enrolled) -> anyhow::Result<()> {
    show_turned(done);
    advise(done);
    context.print(done, |done| {
        let Person { id, name, .. } = &done.worker.person;
        let what = match done.result {
            EnrollResult::Unchanged => "has these values already: nothing is changed",
            EnrollResult::Enrolled | EnrollResult::Updated => "is updated",
        };
        format!("{id} {name} {what}; templates: {}", done.worker.templates)
    })
}
