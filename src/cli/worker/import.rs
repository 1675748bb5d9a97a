//! `gatehouse worker import`: enrols the workers of a spreadsheet, with photos from a folder.
//!
//! Each row is a separate enrolment. The daemon accepts the whole row, or changes nothing and gives
//! the reason. The rows are sent over one connection, one after the other.

mod folder;
mod outcome;
mod papers;
mod progress;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Args;
use serde_json::Value;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use self::{
    outcome::{Done, Outcome},
    papers::Papers,
    progress::Progress,
};
use super::super::Context;
use crate::{
    control::{Client, ClientError, Request},
    roster::{
        Lack,
        import::{self, Candidate},
    },
    services::{Code, Enroll, EnrollResult, Enrolled, Failure, IfKnown},
    words::counted,
};

/// Exit code after Ctrl-C, as shells report it (128 + SIGINT).
const INTERRUPTED: u8 = 130;
/// Maximum number of unused photos that are named one by one.
const NAMED: usize = 20;

#[derive(Args)]
pub(crate) struct Import {
    /// A CSV file (UTF-8 or GB18030) or a workbook (.xlsx, .ods, .xlsb), with Chinese or English
    /// column headings
    #[arg(value_name = "ROSTER")]
    roster: PathBuf,
    /// The folder of photos. KEY is an ID number, worker id or name: KEY.jpg, KEY_2.png,
    /// KEY/any.jpg
    #[arg(long, value_name = "DIR")]
    photos: Option<PathBuf>,
    /// Check all rows and photos, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Update workers who are on the roster already. Without it, a row with other data is refused
    #[arg(long)]
    update: bool,
    /// The heading of the contractor's column, where several columns may be it
    #[arg(long, value_name = "HEADING")]
    contractor: Option<String>,
    /// Write the result of each row to this CSV file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

pub(super) async fn run(context: &Context, import: Import) -> anyhow::Result<ExitCode> {
    let Import { roster, photos, dry_run, update, contractor, report } = import;
    let report = report.as_deref().map(|path| outcome::prepare(path, &roster)).transpose()?;
    let read = move || folder::read(&roster, photos.as_deref(), contractor.as_deref());
    let read = tokio::task::spawn_blocking(read).await;
    let (file, assigned) = read.context("the roster cannot be read")??;
    for note in &file.notes {
        eprintln!("{}", import::masked(note));
    }
    if !file.hidden.is_empty() {
        eprintln!("{}", outcome::hidden(&file.hidden));
    }
    if !file.ignored.is_empty() {
        let ignored = file.ignored.iter().map(|h| import::masked(h)).collect::<Vec<_>>();
        eprintln!("columns that are not imported: {}", ignored.join(", "));
    }
    if !file.passed_over.is_empty() {
        eprintln!("{}", outcome::passed_over(&file.passed_over));
    }
    let mut client = context.client().await?;
    let mut papers = Papers::prepare(&mut client, &file.rows, dry_run).await?;
    let if_known = if update { IfKnown::Update } else { IfKnown::Same };
    let mut progress = Progress::begin(file.rows.len())?;
    let mut interrupts = interrupts()?;
    let mut done: Vec<Done> = Vec::with_capacity(file.rows.len());
    // The reason why the remaining rows are not sent.
    let mut stopped: Option<Stopped> = None;
    for (row, photos) in file.rows.iter().zip(&assigned.of_rows) {
        if stopped.is_none() && *interrupts.borrow() > 0 {
            stopped = Some(Stopped::Interrupted);
        }
        let outcome = match (&stopped, &row.candidate, photos) {
            (Some(stopped), _, _) => stopped.not_done(),
            (None, Err(wrong), _) | (None, _, Err(wrong)) => Outcome::refused(wrong.clone(), false),
            (None, Ok(candidate), Ok(photos)) => {
                let sent = send(&mut client, candidate, photos, if_known, &mut papers, &file.names);
                let twice = async {
                    if interrupts.wait_for(|count| *count > 1).await.is_err() {
                        std::future::pending().await
                    }
                };
                tokio::select! {
                    sent = sent => match sent {
                        Ok(outcome) => outcome,
                        Err(why) => {
                            let outcome = why.in_flight();
                            stopped = Some(why);
                            outcome
                        }
                    },
                    () = twice => {
                        stopped = Some(Stopped::Interrupted);
                        Stopped::Interrupted.in_flight()
                    }
                }
            }
        };
        // Without --update, the daemon does not examine the photos of an unchanged worker.
        let brought = photos.as_ref().map_or(0, Vec::len);
        let examined = if outcome.unchanged() && !update { 0 } else { brought };
        let row_done = Done::of(row, outcome);
        progress.row(&row_done, examined);
        done.push(row_done);
    }
    let counts = progress.end(dry_run, file.passed_over.len());
    if let Some(report) = report {
        outcome::report(report, &done, &file.names)?;
    }
    for (at, (name, why)) in assigned.left_over.iter().enumerate() {
        if at == NAMED {
            let more = counted(assigned.left_over.len() - NAMED, "more file");
            eprintln!("… and {more} not used");
            break;
        }
        eprintln!("photo not used: {name}: {why}");
    }
    outcome::show(context, &done)?;
    if !context.json {
        super::super::print_line(&counts)?;
    }
    if let Some(stopped) = &stopped {
        eprintln!("gatehouse: {}", stopped.in_words());
    }
    Ok(match stopped {
        Some(Stopped::Interrupted) => ExitCode::from(INTERRUPTED),
        _ if progress.all_well() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Why an import ends before its last row.
#[derive(Debug)]
enum Stopped {
    Interrupted,
    /// The connection broke.
    Lost(ClientError),
    /// The user is not allowed to enrol, so every row would be refused.
    Refused(Failure),
}

impl Stopped {
    fn in_words(&self) -> String {
        match self {
            Stopped::Interrupted => "interrupted; run the import again for the rest".to_owned(),
            Stopped::Lost(e) => format!("{e}; run the import again for the rest"),
            Stopped::Refused(failure) => failure.to_string(),
        }
    }

    fn not_done(&self) -> Outcome {
        match self {
            Stopped::Interrupted => Outcome::not_done("interrupted"),
            Stopped::Lost(_) => Outcome::not_done("the connection to the daemon was lost"),
            Stopped::Refused(failure) => Outcome::not_done(&failure.message),
        }
    }

    /// Returns the outcome of the row whose answer did not arrive.
    fn in_flight(&self) -> Outcome {
        match self {
            Stopped::Interrupted => Outcome::not_done("interrupted before the daemon answered"),
            Stopped::Lost(_) => {
                Outcome::not_done("the connection was lost before the daemon answered")
            }
            Stopped::Refused(failure) => Outcome::not_done(&failure.message),
        }
    }
}

/// Counts how often Ctrl-C is pressed. After the first time the current row is finished.
fn interrupts() -> anyhow::Result<watch::Receiver<u32>> {
    let mut presses = signal(SignalKind::interrupt())?;
    let (count, counted) = watch::channel(0);
    tokio::spawn(async move {
        while presses.recv().await.is_some() {
            count.send_modify(|count| *count += 1);
            if *count.borrow() == 1 {
                eprintln!("stopping after this row; press Ctrl-C again to stop now");
            }
        }
    });
    Ok(counted)
}

/// Sends one row. Returns `Err` if the import cannot continue.
async fn send(
    client: &mut Client,
    candidate: &Candidate,
    photos: &[import::Photo],
    if_known: IfKnown,
    papers: &mut Papers,
    names: &import::Names,
) -> Result<Outcome, Stopped> {
    let mut announced = Vec::with_capacity(photos.len());
    let mut bytes = Vec::with_capacity(photos.len());
    for photo in photos {
        match super::file::photo(&photo.path, photo.shown.clone()) {
            Ok((photo, read)) => {
                announced.push(photo);
                bytes.push(read);
            }
            Err(e) => return Ok(Outcome::refused(format!("{e:#}"), false)),
        }
    }
    let Candidate { person, id_type, id_number, particulars, terms, .. } = candidate.clone();
    let enroll = Enroll {
        particulars,
        terms,
        photos: announced,
        if_known,
        dry_run: papers.dry_run,
        // An import of hundreds of rows asks no questions.
        confirmed: true,
        ..Enroll::new(person, id_type, id_number.to_string())
    };
    let request = Request::Enroll(Box::new(enroll));
    match client.ask_with(&request, &bytes, |_: Value| {}).await {
        Ok(Enrolled { worker, result, turned, advice }) => {
            let (given, refused) = papers.give(client, candidate, &worker, result).await?;
            let note = match (result, worker.templates, photos.len()) {
                (EnrollResult::Unchanged, 0, 1..) => {
                    Some("on the roster without a template: give --update to import the photos")
                }
                (_, 0, _) => Some("no photo: a card or a guard must let this worker in"),
                _ => None,
            };
            let turned = turned.iter().map(ToString::to_string);
            // Most rosters have one photo of each worker, which is no news.
            let advice = advice.filter(|advice| advice.lacks != Lack::Second);
            let note = note.map(str::to_owned).or(advice.map(|advice| advice.to_string()));
            if !refused.is_empty() {
                let done = Outcome::well(result, 0, Vec::new()).result.word();
                let is = if papers.dry_run { "would be" } else { "is" };
                let why = format!("the worker {is} {done}, but {}", refused.join("; "));
                return Ok(Outcome::refused(why, false));
            }
            let notes: Vec<String> = turned.chain(note).chain(given).collect();
            Ok(Outcome::well(result, worker.templates, notes))
        }
        Err(ClientError::Refused(failure)) if failure.code == Code::NotAllowed => {
            Err(Stopped::Refused(failure))
        }
        Err(ClientError::Refused(failure)) => {
            let reason = failure.in_words_of(|field| names.called(field));
            let of_consent = matches!(failure.field.as_deref(), Some("consent" | "consent-on"));
            Ok(Outcome::refused(reason, of_consent))
        }
        Err(lost) => Err(Stopped::Lost(lost)),
    }
}
