//! Workers onto the roster, and what is said of them changed.

use std::{
    io::{IsTerminal, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use jiff::civil::Date;

use super::super::{Context, day, lane::direction};
use crate::{
    config::Direction,
    control::Request,
    figures::counted,
    roster::{Gender, IdType, Particulars, Person, Terms, WorkerId},
    services::{
        Amend, AmendFaces, Clear, Enrol, EnrolResult, Enrolled, Hint, Live, PHOTO_MAX, PHOTOS_MAX,
        Photo,
    },
};

#[derive(Args)]
pub(in crate::cli) struct Enroll {
    /// The worker's id at this site: 1 to 32 of A-Z, a-z, 0-9, -, _ and . Never used again
    #[arg(long)]
    id: WorkerId,
    /// The name, as it stands in the document
    #[arg(long)]
    name: String,
    /// The number of the resident identity card, or of the document that --id-type names; kept
    /// encrypted
    #[arg(long, value_name = "NUMBER")]
    id_number: String,
    /// The team; timesheets are by team
    #[arg(long)]
    team: String,
    /// The labour contractor that the team is of
    #[arg(long)]
    contractor: String,
    /// What the worker does: steel fixer, carpenter
    #[arg(long)]
    trade: String,
    /// A JPEG or PNG with the worker alone on it; up to five. Without photos and --lane the worker
    /// has no template, and passes only when a guard vouches (lane release --worker)
    #[arg(long, value_name = "FILE", conflicts_with = "lane")]
    photo: Vec<PathBuf>,
    #[command(flatten)]
    camera: Camera,
    /// resident, passport, hk_macao_permit or taiwan_permit
    #[arg(long, value_name = "TYPE", value_parser = id_type, default_value = "resident")]
    id_type: IdType,
    #[command(flatten)]
    twin: Twin,
    /// A date that lies ahead of a clock that is not synchronised is meant
    #[arg(long)]
    yes: bool,
    // Last, because its heading goes on for what follows.
    #[command(flatten)]
    more: More,
}

/// What may be said of a worker beside who it is.
#[derive(Args)]
#[command(next_help_heading = "What else is said of the worker")]
struct More {
    /// Number of the form by which the worker agrees that their face is kept; without it no photo is
    /// taken in unless the configuration says otherwise
    #[arg(long, value_name = "FORM-NUMBER")]
    consent: Option<String>,
    /// When that form was signed
    #[arg(long, value_name = "DATE", value_parser = day)]
    consent_on: Option<Date>,
    /// First day of admission, such as 2026-10-01
    #[arg(long, value_name = "DATE", value_parser = day)]
    valid_from: Option<Date>,
    /// Last day of admission
    #[arg(long, value_name = "DATE", value_parser = day)]
    valid_until: Option<Date>,
    /// When the labour contract was signed
    #[arg(long, value_name = "DATE", value_parser = day)]
    contract_signed: Option<Date>,
    /// When the worker was trained in safety
    #[arg(long, value_name = "DATE", value_parser = day)]
    trained_on: Option<Date>,
    /// Phone number; kept encrypted
    #[arg(long)]
    phone: Option<String>,
    /// The last four digits of the wage account; kept encrypted
    #[arg(long, value_name = "DIGITS")]
    bank_tail: Option<String>,
    /// male or female; of a resident it follows from the number
    #[arg(long, value_parser = gender)]
    gender: Option<Gender>,
    /// Birth date; of a resident it follows from the number
    #[arg(long, value_name = "DATE", value_parser = day)]
    birth_date: Option<Date>,
}

impl More {
    fn split(self) -> (Terms, Particulars) {
        let More { valid_from, valid_until, consent, consent_on, .. } = self;
        let More { contract_signed, trained_on, gender, birth_date, phone, bank_tail, .. } = self;
        (
            Terms { valid_from, valid_until, consent, consent_on, contract_signed, trained_on },
            Particulars { gender, birth_date, phone, bank_tail },
        )
    }
}

/// The worker stands before a lane's camera.
#[derive(Args)]
struct Camera {
    /// Take the photos now, with the camera of this lane; the gate there waits meanwhile
    #[arg(long, requires = "direction")]
    lane: Option<String>,
    /// Which of its cameras: entry or exit
    #[arg(long, value_parser = direction, requires = "lane")]
    direction: Option<Direction>,
}

impl Camera {
    fn live(self) -> Option<Live> {
        self.lane.zip(self.direction).map(|(lane, direction)| Live { lane, direction })
    }
}

/// Two workers with one face.
#[derive(Args)]
struct Twin {
    /// Why, in words; recorded
    #[arg(long)]
    reason: Option<String>,
    /// The face may be like that of a worker who is enrolled: they are twins. Recorded
    #[arg(long, requires = "reason")]
    allow_duplicate_face: bool,
}

#[derive(Args)]
pub(in crate::cli) struct Update {
    /// The worker's id
    id: WorkerId,
    /// Another team
    #[arg(long)]
    team: Option<String>,
    /// Another contractor
    #[arg(long)]
    contractor: Option<String>,
    /// Another trade
    #[arg(long)]
    trade: Option<String>,
    /// Another name, where the one there is was wrong
    #[arg(long)]
    name: Option<String>,
    /// Another number, where the one there is was wrong
    #[arg(long, value_name = "NUMBER")]
    id_number: Option<String>,
    /// With --id-number, where it is of another type: resident, passport, hk_macao_permit or
    /// taiwan_permit
    #[arg(long, value_name = "TYPE", value_parser = id_type, requires = "id_number")]
    id_type: Option<IdType>,
    /// What is no longer so; several times for several
    #[arg(long, value_name = "FIELD", value_parser = clear())]
    clear: Vec<Clear>,
    /// Why, in words; recorded
    #[arg(long)]
    reason: Option<String>,
    /// A date that lies ahead of a clock that is not synchronised is meant
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    more: More,
}

#[derive(Args)]
#[group(id = "faces", required = true, multiple = false, args = ["add", "replace", "erase", "lane"])]
pub(in crate::cli) struct Photos {
    /// The worker's id
    id: WorkerId,
    /// A photo beside those there are; several times for several, five in all
    #[arg(long, value_name = "FILE")]
    add: Vec<PathBuf>,
    /// A photo in place of those there are
    #[arg(long, value_name = "FILE")]
    replace: Vec<PathBuf>,
    /// Take new photos in place of those there are, with the camera of this lane
    #[arg(long, requires = "direction")]
    lane: Option<String>,
    /// Which of its cameras: entry or exit
    #[arg(long, value_parser = direction, requires = "lane")]
    direction: Option<Direction>,
    /// Erase templates and photos: the consent is withdrawn. The worker stays on the roster
    #[arg(long, requires = "reason")]
    erase: bool,
    /// The consent form's number, where none was given before
    #[arg(long, value_name = "FORM-NUMBER")]
    consent: Option<String>,
    #[command(flatten)]
    twin: Twin,
}

fn clear() -> impl TypedValueParser<Value = Clear> {
    PossibleValuesParser::new(Clear::WORDS.map(|(word, _)| word)).try_map(|given| {
        let known = Clear::WORDS.into_iter().find(|(word, _)| *word == given);
        known.map(|(_, clear)| clear).ok_or("is not known")
    })
}

fn id_type(text: &str) -> Result<IdType, String> {
    let words = || IdType::ALL.map(IdType::word).join(", ");
    IdType::from_word(text).ok_or_else(|| format!("must be one of {}", words()))
}

fn gender(text: &str) -> Result<Gender, String> {
    Gender::from_word(text).ok_or_else(|| "must be male or female".to_owned())
}

/// What is announced of photos, and their bytes.
fn read(paths: &[PathBuf]) -> anyhow::Result<(Vec<Photo>, Vec<Vec<u8>>)> {
    anyhow::ensure!(paths.len() <= PHOTOS_MAX, "give at most {PHOTOS_MAX} photos");
    let one = |path: &PathBuf| -> anyhow::Result<(Photo, Vec<u8>)> {
        let shown = path.display();
        let bytes = size(path).with_context(|| format!("photo {shown}"))?;
        // One that is too large is not read: the daemon refuses it by its size.
        let read = bytes <= PHOTO_MAX as u64;
        let content = if read { std::fs::read(path) } else { Ok(Vec::new()) };
        let content = content.with_context(|| format!("photo {shown}"))?;
        let bytes = if read { content.len() as u64 } else { bytes };
        Ok((Photo { name: shown.to_string(), bytes }, content))
    };
    let all: anyhow::Result<Vec<_>> = paths.iter().map(one).collect();
    Ok(all?.into_iter().unzip())
}

fn size(path: &Path) -> anyhow::Result<u64> {
    let meta = std::fs::metadata(path)?;
    anyhow::ensure!(meta.is_file(), "it is no file");
    Ok(meta.len())
}

/// Shows what is wrong with the latest look, on one line of a terminal or where it changes.
fn show_hints() -> impl FnMut(Hint) {
    let (terminal, mut last) = (std::io::stderr().is_terminal(), None);
    move |hint: Hint| {
        let what = if hint.hint.is_empty() { "good" } else { &hint.hint };
        let line = format!("look {}/{}: {what}", hint.good, hint.wanted);
        if last.as_ref() == Some(&line) {
            return;
        }
        let mut stderr = std::io::stderr();
        // Nobody may be looking.
        let _ =
            if terminal { write!(stderr, "\r\x1b[2K{line}") } else { writeln!(stderr, "{line}") };
        last = Some(line);
    }
}

/// `request`: what is asked, given whether dates that look mistyped are meant.
async fn ask(
    context: &Context,
    yes: bool,
    request: impl Fn(bool) -> Request,
    photos: &[Vec<u8>],
    live: bool,
) -> anyhow::Result<Enrolled> {
    super::super::confirmed(yes, "Is it meant?", async |confirmed| {
        let mut client = context.client().await?;
        let done = client.ask_with(&request(confirmed), photos, show_hints()).await;
        if live && std::io::stderr().is_terminal() {
            eprintln!();
        }
        Ok(done?)
    })
    .await
}

pub(super) async fn enrol(context: &Context, enroll: Enroll) -> anyhow::Result<()> {
    let (announced, photos) = read(&enroll.photo)?;
    let Enroll { id, name, team, contractor, trade, .. } = enroll;
    let person = Person { id, name, team, contractor, trade };
    let mut enrol = Enrol::new(person, enroll.id_type, enroll.id_number);
    (enrol.terms, enrol.particulars) = enroll.more.split();
    enrol.photos = announced;
    enrol.live = enroll.camera.live();
    enrol.allow_duplicate_face = enroll.twin.reason.filter(|_| enroll.twin.allow_duplicate_face);
    let live = enrol.live.is_some();
    let request = |confirmed| Request::Enrol(Box::new(Enrol { confirmed, ..enrol.clone() }));
    let done = ask(context, enroll.yes, request, &photos, live).await?;
    context.print(&done.worker, |w| {
        let Person { id, name, .. } = &w.person;
        match w.templates {
            0 => format!(
                "{id} {name} is enrolled, without a face: a guard vouches, with lane release --worker"
            ),
            n => format!("{id} {name} is enrolled, with {}", counted(n, "template")),
        }
    })
}

pub(super) async fn update(context: &Context, update: Update) -> anyhow::Result<()> {
    let (terms, particulars) = update.more.split();
    let amend = Amend {
        name: update.name,
        document: update.id_number.map(|number| (update.id_type, number)),
        particulars,
        team: update.team,
        contractor: update.contractor,
        trade: update.trade,
        terms,
        clear: update.clear,
        reason: update.reason,
        ..Amend::nothing(update.id)
    };
    let request = |confirmed| Request::Amend(Box::new(Amend { confirmed, ..amend.clone() }));
    say_amended(context, &ask(context, update.yes, request, &[], false).await?)
}

pub(super) async fn photos(context: &Context, photos: Photos) -> anyhow::Result<()> {
    let live = Camera { lane: photos.lane, direction: photos.direction }.live();
    let (faces, files) = match &live {
        Some(_) => (AmendFaces::Replace, Vec::new()),
        None if photos.erase => (AmendFaces::Erase, Vec::new()),
        None if photos.add.is_empty() => (AmendFaces::Replace, photos.replace),
        None => (AmendFaces::Add, photos.add),
    };
    let (announced, bytes) = read(&files)?;
    let Twin { allow_duplicate_face, reason } = photos.twin;
    let is_live = live.is_some();
    let amend = Amend {
        terms: Terms { consent: photos.consent, ..Terms::default() },
        faces,
        photos: announced,
        live,
        allow_duplicate_face: reason.clone().filter(|_| allow_duplicate_face),
        reason,
        ..Amend::nothing(photos.id)
    };
    let request = |_| Request::Amend(Box::new(amend.clone()));
    say_amended(context, &ask(context, false, request, &bytes, is_live).await?)
}

fn say_amended(context: &Context, done: &Enrolled) -> anyhow::Result<()> {
    context.print(done, |done| {
        let Person { id, name, .. } = &done.worker.person;
        let what = match done.result {
            EnrolResult::Unchanged => "is as said already: nothing changed",
            EnrolResult::Enrolled | EnrolResult::Updated => "is brought up to date",
        };
        format!("{id} {name} {what}; templates: {}", done.worker.templates)
    })
}
