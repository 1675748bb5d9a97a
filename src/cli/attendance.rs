//! `gatehouse attendance …`: lists and exports records, lists the workers on site, adds and
//! disputes passages, and withdraws disputes.

pub(super) mod photo;

use std::{
    io::{BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};

use super::{Context, WholeFile, timesheet::month};
use crate::{
    attendance::{Means, Record, RecordOutcome, Undated, export::Extent, onsite::Present},
    config::Direction,
    control::{Piece, Request},
    roster::WorkerId,
    services::{Addition, AttendanceQuery, Dispute, ExportQuery, OnsiteDone, Withdraw},
    words::counted,
    words::day,
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// List attendance records, oldest first (JSON: the record as sent upstream, plus its dispute).
    /// A corrected record is replaced by its correction
    #[command(after_help = "Examples:
  gatehouse attendance list --from 2026-10-01 --to 2026-10-31 --team \"钢筋一班\"
  gatehouse attendance list --worker W001 --json")]
    List(AttendanceQuery),
    /// Save the photo of a passage, while it is still kept; the access is logged
    #[command(after_help = "Example:\n  gatehouse attendance photo 1842 --out passage.jpg")]
    Photo(photo::Photo),
    /// List the workers who are on site, by contractor and team
    #[command(after_help = "Examples:
  gatehouse attendance onsite
  gatehouse attendance onsite --since 2026-10-01")]
    Onsite {
        /// Count only entries from this day on [default: three days ago]
        #[arg(long, value_name = "DATE", value_parser = day)]
        since: Option<Date>,
    },
    /// Write records with their proofs to a file, for a timesheet that is made on another gateway of the site
    #[command(after_help = "Examples:
  gatehouse attendance export --month 2026-10 --out south.jsonl
  gatehouse attendance export --from 2026-10-01 --to 2026-10-15 --out south.jsonl")]
    Export(Export),
    /// Add a passage that no gate recorded. All lists and sheets show it separately
    #[command(after_help = "Example:
  gatehouse attendance supplement --worker W001 --at \"2026-10-03 17:30\" --direction exit \\
    --reason \"the gate had no power\"")]
    Supplement(Supplement),
    /// Mark a record as the wrong person. It stays in the ledger, and lists and sheets show it with
    /// your name; its hours stand beside the others
    #[command(
        after_help = "Example:\n  gatehouse attendance dispute 1842 --reason \"it was his brother\""
    )]
    Dispute(Dispute),
    /// Take back a dispute. Both stay in the ledger, and the record's hours count again
    #[command(
        after_help = "Example:\n  gatehouse attendance withdraw 1842 --reason \"it was he after all\""
    )]
    Withdraw(Withdraw),
}

#[derive(Args)]
pub(super) struct Export {
    /// First day, such as 2026-10-01
    #[arg(long, value_name = "DATE", value_parser = day, required_unless_present = "month", display_order = 3)]
    from: Option<Date>,
    /// Last day
    #[arg(long, value_name = "DATE", value_parser = day, required_unless_present = "month", display_order = 4)]
    to: Option<Date>,
    /// All records that a month's timesheet needs, with the nights before and after; instead of
    /// --from and --to
    #[arg(long, value_parser = month, conflicts_with_all = ["from", "to"], display_order = 2)]
    month: Option<Date>,
    /// The file to write
    #[arg(long, value_name = "FILE", display_order = 1)]
    out: PathBuf,
    /// Replace the file if it exists
    #[arg(long, display_order = 5)]
    force: bool,
}

#[derive(Args)]
pub(super) struct Supplement {
    /// The worker who passed
    #[arg(long, value_name = "ID")]
    worker: WorkerId,
    /// Time of the passage: "2026-10-03 17:30" in the site's time zone, or RFC 3339 with an offset
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Moment,
    /// entry or exit
    #[arg(long)]
    direction: Direction,
    /// The reason, in your own words
    #[arg(long)]
    reason: String,
    /// Accept a time that looks mistyped: in the future of a clock that is not synchronised, or
    /// long before the first entry
    #[arg(long)]
    yes: bool,
}

/// A time on the command line.
#[derive(Clone, Copy)]
enum Moment {
    Instant(Timestamp),
    OnTheSitesClock(DateTime),
}

fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(at) = text.parse() {
        return Ok(Moment::Instant(at));
    }
    let formats = ["%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"];
    let found = formats.iter().find_map(|format| DateTime::strptime(format, text).ok());
    found.map(Moment::OnTheSitesClock).ok_or_else(|| {
        "must be a time such as \"2026-10-03 17:30\" or 2026-10-03T17:30:00+08:00".to_owned()
    })
}

impl Moment {
    fn within(self, zone: &TimeZone) -> anyhow::Result<Timestamp> {
        match self {
            Moment::Instant(at) => Ok(at),
            Moment::OnTheSitesClock(shown) => zone.to_ambiguous_timestamp(shown).unambiguous().with_context(
                || format!("--at: a clock change skips or repeats {shown}: give the time with its UTC offset"),
            ),
        }
    }
}

pub(super) async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Photo(photo) => return photo::run(context, photo).await,
        Command::List(query) => listed(context, query).await?,
        Command::Onsite { since } => onsite(context, since).await?,
        Command::Export(arguments) => export(context, arguments).await?,
        Command::Supplement(Supplement { worker, at, direction, reason, yes }) => {
            let at = at.within(&context.site().await?.1)?;
            let added = super::confirmed(yes, "Is the time right?", async |confirmed| {
                let (worker, reason) = (worker.clone(), reason.clone());
                let added = Addition { worker, at, direction, reason, confirmed };
                context.ask(&Request::Supplement(added)).await
            });
            let added: Record = added.await?;
            context.print(&added, |r| {
                let Record { seq, worker, name, direction, at, .. } = r;
                format!("record {seq}: worker {worker} {name}, {direction} at {at}, added by hand")
            })?;
        }
        Command::Dispute(dispute) => {
            let disputed: Record = context.ask(&Request::Dispute(dispute)).await?;
            context.print(&disputed, |r| {
                let (Record { seq, worker, name, direction, .. }, at) = (r, r.effective());
                format!("record {seq} is disputed: worker {worker} {name}, {direction} at {at}")
            })?;
        }
        Command::Withdraw(withdraw) => {
            let counts: Record = context.ask(&Request::Withdraw(withdraw)).await?;
            context.print(&counts, |r| {
                let Record { seq, worker, name, direction, at, .. } = r;
                format!("record {seq} counts again: worker {worker} {name}, {direction} at {at}")
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn listed(context: &Context, query: AttendanceQuery) -> anyhow::Result<()> {
    // An empty query returns the present ledger. A seq of another one must not be taken for its own.
    let never = Some(Timestamp::UNIX_EPOCH);
    let nothing = AttendanceQuery { from_at: never, to_at: never, ..AttendanceQuery::default() };
    let own: Extent = context.ask(&Request::Attendance(nothing)).await?;
    let columns = [
        "SEQ",
        "AT",
        "WORKER",
        "NAME",
        "TEAM",
        "DIRECTION",
        "LANE",
        "MEANS",
        "SCORE",
        "OUTCOME",
        "CORRECTS",
        "DISPUTED",
        "CLOCK",
    ];
    let row = |r: Record| {
        let flags: String = r.flags.iter().map(|flag| format!(", {}", flag.word())).collect();
        let clock = match &r.undated {
            Some(undated) => no_date(undated),
            None if r.is_corrected() => format!("showed {}", r.at),
            None => String::new(),
        };
        vec![
            if r.ledger == own.ledger {
                r.seq.to_string()
            } else {
                format!("{}/{}", r.ledger.get(..8).unwrap_or_default(), r.seq)
            },
            r.effective().to_owned(),
            r.worker,
            r.name,
            r.team,
            r.direction.to_string(),
            r.lane.unwrap_or_else(|| "-".to_owned()),
            r.means.to_string(),
            r.score.map_or_else(|| "-".to_owned(), |score| score.to_string()),
            match r.unknown.get("outcome").and_then(|word| word.as_str()) {
                Some(word) if r.outcome == RecordOutcome::Other => format!("{word}{flags}"),
                _ => format!("{}{flags}", r.outcome),
            },
            r.corrects.map_or_else(String::new, |seq| seq.to_string()),
            match (r.disputed, r.dispute) {
                (Some(seq), Some(dispute)) => {
                    format!("by {} ({seq}): {}", dispute.by, dispute.reason)
                }
                (Some(seq), None) => format!("by {seq}"),
                (None, _) => String::new(),
            },
            clock,
        ]
    };
    let read: Extent = context.list(&Request::Attendance(query), &columns, row).await?;
    left_out(&read);
    Ok(())
}

/// Says between which times a record without a date was made.
fn no_date(Undated { after, before }: &Undated) -> String {
    let bounds = [("after", after), ("before", before)];
    let bounds = bounds.iter().filter_map(|(word, at)| Some(format!("; {word} {}", at.as_ref()?)));
    format!("no date{}", bounds.collect::<String>())
}

/// Says which entries of the ledger a list lacks.
fn left_out(read: &Extent) {
    for place in &read.illegible {
        eprintln!(
            "gatehouse: {place} cannot be read in full, and records of it may be left out: run \
             `gatehouse ledger rescue`"
        );
    }
    if read.unread > 0 {
        let named: Vec<_> = read.unread_entries.iter().map(ToString::to_string).collect();
        let more = if read.unread > named.len() as u64 { ", …" } else { "" };
        let named = if named.is_empty() { "?".to_owned() } else { named.join(", ") };
        eprintln!(
            "gatehouse: {} ({named}{more}) of this time cannot be read and {} left out: either a later \
             version of Gatehouse wrote them, or the database is damaged or was altered, which \
             `gatehouse status` and `gatehouse evidence audit` show",
            counted(read.unread, "ledger entry"),
            if read.unread == 1 { "is" } else { "are" }
        );
    }
}

async fn onsite(context: &Context, since: Option<Date>) -> anyhow::Result<()> {
    let columns = ["CONTRACTOR", "TEAM", "WORKER", "NAME", "TRADE", "SINCE", "LANE", ""];
    let row = |p: Present| {
        let remarks = [
            (p.means == Means::Supplement, "added by hand"),
            (p.undated, "the time has no date"),
            (p.overdue, "no exit recorded since"),
            (p.removed, "removed from the roster"),
        ];
        let remarks: Vec<_> = remarks.iter().filter(|(is, _)| *is).map(|(_, what)| *what).collect();
        let lane = p.lane.unwrap_or_else(|| "-".to_owned());
        vec![p.contractor, p.team, p.worker, p.name, p.trade, p.since, lane, remarks.join("; ")]
    };
    let done: OnsiteDone = context.list(&Request::Onsite { since }, &columns, row).await?;
    if !context.json {
        super::print_line(&format!(
            "{} on site at {}; entries before {} are not counted",
            done.count, done.at, done.since
        ))?;
    }
    if done.unread > 0 {
        eprintln!(
            "gatehouse: {} of this time cannot be read, so the list may be wrong: see `gatehouse status`",
            counted(done.unread, "ledger entry")
        );
    }
    Ok(())
}

async fn export(context: &Context, arguments: Export) -> anyhow::Result<()> {
    let Export { from, to, month, out, force } = arguments;
    let (from, to) = match (from, to, month) {
        (Some(from), Some(to), _) => (from, to),
        // A working day may begin late in the day, and a night shift may end after that.
        (.., Some(first)) => {
            (first.yesterday()?, first.last_of_month().saturating_add(jiff::Span::new().days(2)))
        }
        _ => anyhow::bail!("give --from and --to, or --month"),
    };
    let mut file = WholeFile::begin(&out, force)?;
    let mut lines = BufWriter::new(&mut file.file);
    let mut written = Ok(());
    let each = |piece: Piece| {
        if written.is_ok() {
            let bytes = hex::decode(piece.hex).map_err(std::io::Error::other);
            written = bytes.and_then(|bytes| lines.write_all(&bytes));
        }
    };
    let query = Request::Export(ExportQuery { from, to });
    let read: Extent = context.client().await?.list(&query, each).await?;
    written
        .and_then(|()| lines.flush())
        .with_context(|| format!("{} cannot be written", out.display()))?;
    drop(lines);
    file.finish()?;
    left_out(&read);
    context.print(&read, |read| {
        let records = counted(read.ending().count, "record");
        format!("{}: {records}, {from} to {to}", out.display())
    })
}
