//! `gatehouse timesheet`: computes the month's sheet, in this process. In: the daemon's records,
//! and exports of the site's other gateways. Out: a table, JSON, CSV or an Excel file.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write as _,
    fs::File,
    io::{BufReader, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use jiff::civil::Date;

use super::{
    Context, WholeFile,
    evidence::{Fingerprint, fingerprint},
};
use crate::{
    attendance::{
        Record,
        export::{Extent, HeadOf, Trust},
        merge::Gathered,
        print::{self, Document, hours},
        timesheet::{
            At, Days, ListedSeparately, Note, SheetFilter, Text, Timesheet, Totals, still_inside,
            timesheet,
        },
    },
    clock::{Clock, SystemClock},
    control::{Client, ClientError, Request},
    roster::WorkerId,
    services::{AttendanceQuery, HeadShown, WorkerShown},
    words::counted,
};

#[derive(Args)]
#[command(after_help = "Examples:
  gatehouse timesheet --month 2026-10
  gatehouse timesheet --month 2026-10 --format xlsx --out 2026-10.xlsx --team \"钢筋一班\"
  gatehouse timesheet --month 2026-10 --with south.jsonl --fingerprint HEX --out 2026-10.csv \\
    --format csv")]
pub(super) struct Arguments {
    /// The month, such as 2026-10
    #[arg(long, value_parser = month, display_order = 1)]
    month: Date,
    /// Only this worker, day by day
    #[arg(long, value_name = "ID", display_order = 7)]
    worker: Option<WorkerId>,
    /// Only this team
    #[arg(long, display_order = 5)]
    team: Option<String>,
    /// Only the teams of this contractor
    #[arg(long, display_order = 6)]
    contractor: Option<String>,
    /// A file that `attendance export --month` wrote on another gateway of the site. Repeat for
    /// more
    #[arg(long = "with", value_name = "FILE", display_order = 8)]
    exports: Vec<PathBuf>,
    /// The fingerprint of another gateway's key, as `evidence head` shows it there. Repeat for more
    #[arg(long, value_name = "HEX", value_parser = fingerprint, display_order = 9)]
    fingerprint: Vec<Fingerprint>,
    /// Take also files without valid proofs, or of an unknown key. The sheet says so in red
    #[arg(long, display_order = 10)]
    unverified: bool,
    /// This id is one person, although the gateways have different names for it. Repeat for more
    #[arg(long, value_name = "ID", display_order = 11)]
    same_person: Vec<String>,
    /// table: sums by worker; csv and xlsx: each day too
    #[arg(long, value_enum, display_order = 2)]
    format: Option<Form>,
    /// The file to write; without it, table and csv go to stdout
    #[arg(long, value_name = "FILE", display_order = 3)]
    out: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long, display_order = 4)]
    force: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Table,
    Csv,
    Xlsx,
}

/// Parses a month such as 2026-10. Returns its first day.
pub(super) fn month(text: &str) -> Result<Date, String> {
    let first = (text.len() == 7).then(|| format!("{text}-01").parse().ok());
    first.flatten().ok_or_else(|| "must be a month such as 2026-10".to_owned())
}

pub(super) async fn run(context: &Context, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let form = arguments.format.unwrap_or(Form::Table);
    let misused = if context.json && arguments.format.is_some() {
        Some("--json and --format cannot be used together: give only one of them")
    } else if form == Form::Xlsx && arguments.out.is_none() {
        Some("--format xlsx needs --out FILE")
    } else {
        None
    };
    if let Some(problem) = misused {
        eprintln!("gatehouse: {problem}");
        return Ok(ExitCode::from(2));
    }
    let out = arguments.out.as_deref();
    let file = out.map(|out| WholeFile::begin(out, arguments.force)).transpose()?;
    let document = document(context, &arguments).await?;
    let bytes = match form {
        _ if context.json => serde_json::to_vec(&document)?,
        Form::Table => human(&document, arguments.worker.is_some()).into_bytes(),
        Form::Csv => print::csv(&document)?,
        Form::Xlsx => print::xlsx(&document)?,
    };
    for note in &document.notes {
        eprintln!("gatehouse: note: {}", note.english());
    }
    let Some(mut file) = file else {
        // The bytes are written unchanged: a CSV needs its byte order mark and its line ends.
        let end: &[u8] = if bytes.ends_with(b"\n") { b"" } else { b"\n" };
        super::print_bytes(&[&bytes, end].concat())?;
        return Ok(ExitCode::SUCCESS);
    };
    file.file
        .write_all(&bytes)
        .with_context(|| format!("{} cannot be written", file.path.display()))?;
    let path = file.path.display().to_string();
    file.finish()?;
    eprintln!(
        "gatehouse: {path}: {}, {} hours{}{}",
        counted(document.sheet.workers, "worker"),
        hours(document.sheet.total.minutes),
        match document.sheet.total.unconfirmed.minutes {
            0 => String::new(),
            unconfirmed => format!(", {} hours unconfirmed", hours(unconfirmed)),
        },
        match document.sheet.total.disputed.minutes {
            0 => String::new(),
            disputed => format!(", {} hours disputed", hours(disputed)),
        }
    );
    Ok(ExitCode::SUCCESS)
}

async fn document(context: &Context, arguments: &Arguments) -> anyhow::Result<Document> {
    let (site, timezone) = context.site().await?;
    let first = arguments.month;
    let days =
        Days::new(first, first.last_of_month(), timezone, site.day_starts_at).context("--month")?;
    let fingerprints = arguments.fingerprint.iter().map(|known| known.0).collect();
    let trust = Trust { fingerprints, unverified: arguments.unverified };
    let mut gathered = Gathered::new(&days, trust);
    let (from, to) = days.range();
    // With exports, the query names no worker: the worker may be known only to another gateway.
    let worker = arguments.worker.clone().filter(|_| arguments.exports.is_empty());
    let query = AttendanceQuery {
        worker,
        from_at: Some(from),
        to_at: Some(to),
        export: true,
        ..AttendanceQuery::default()
    };
    let mut taken = Ok(());
    let mut client = context.client().await?;
    let own: Extent = client
        .list(&Request::Attendance(query), |record: Record| {
            if taken.is_ok() {
                taken = gathered.take(&record).map(drop);
            }
        })
        .await?;
    taken.map_err(anyhow::Error::msg)?;
    let head = match client.ask::<HeadShown>(&Request::Head).await {
        Ok(HeadShown { tree_size, root, at, fingerprint, .. }) => {
            Some(HeadOf { tree_size, root, signed_at: at, fingerprint })
        }
        // A ledger that cannot be signed must not cost the sheet, which says so.
        Err(ClientError::Refused(_)) => None,
        Err(error) => return Err(error.into()),
    };
    gathered.own(&own, head);
    for path in &arguments.exports {
        let name = file_name(path);
        let file = File::open(path).with_context(|| path.display().to_string())?;
        gathered.export(&name, BufReader::new(file), &own.project)?;
    }
    let gathered = gathered.one_person_each(&arguments.same_person).map_err(anyhow::Error::msg)?;
    let Gathered { passes, sources, mut notes, read_at, .. } = gathered;
    let only = SheetFilter {
        worker: arguments.worker.as_ref().map(|id| id.as_str().to_owned()),
        team: arguments.team.clone(),
        contractor: arguments.contractor.clone(),
    };
    let known: BTreeSet<(String, String)> = if only.is_all() {
        BTreeSet::new()
    } else {
        passes.iter().map(|p| (p.contractor.to_string(), p.team.to_string())).collect()
    };
    let inside = read_at.map_or(0, |read_at| still_inside(&passes, &days, &only, read_at));
    if inside > 0 {
        notes.push(Note::StillInside { workers: inside });
    }
    let ours: BTreeSet<Text> = passes
        .iter()
        .filter(|p| *p.ledger == *own.ledger || own.earlier.contains_key(&*p.ledger))
        .map(|p| p.worker.clone())
        .collect();
    let mut sheet = timesheet(passes, &days, &only);
    notes.extend(sheet.notes());
    id_tails(&mut client, &ours, &mut sheet).await?;
    let is_empty = sheet.rows.is_empty() && sheet.disputed.is_empty() && sheet.undated.is_empty();
    if is_empty && !only.is_all() {
        let teams: Vec<_> = known.iter().map(|(c, t)| format!("{c} / {t}")).collect();
        bail!(
            "no record in {} matches --worker, --team and --contractor. Contractors and teams with \
             records: {}",
            first.strftime("%Y-%m"),
            if teams.is_empty() { "none".to_owned() } else { teams.join(", ") }
        );
    }
    let now = SystemClock::new()?.stamp().timestamp();
    Ok(Document {
        project: own.project,
        site: site.name,
        month: first.strftime("%Y-%m").to_string(),
        timezone: site.timezone,
        day_starts_at: site.day_starts_at.strftime("%H:%M").to_string(),
        made_at: days.at(now),
        sources,
        notes,
        dates: days.shown().collect(),
        sheet,
    })
}

/// Adds the last four characters of each worker's ID number, from this gateway's roster. A worker
/// who is only on another gateway's roster gets none. Another person with the same id must get
/// none.
async fn id_tails(
    client: &mut Client,
    ours: &BTreeSet<Text>,
    sheet: &mut Timesheet,
) -> anyhow::Result<()> {
    let mut known: HashMap<Text, Option<WorkerShown>> = HashMap::new();
    for row in &mut sheet.rows {
        if !known.contains_key(&row.worker) {
            let Ok(id) = row.worker.parse() else { continue };
            let shown = match client.ask(&Request::Worker { id }).await {
                Ok(shown) => Some(shown),
                // The worker is not on the roster, or the row is damaged, which `status` shows.
                Err(ClientError::Refused(_)) => None,
                Err(error) => return Err(error.into()),
            };
            known.insert(row.worker.clone(), shown);
        }
        let shown = known.get(&row.worker).and_then(Option::as_ref);
        let same =
            |s: &&WorkerShown| ours.contains(&row.worker) || s.worker.person.name == *row.name;
        // The masked number has stars for all other characters.
        row.id_tail = shown.filter(same).map(|s| s.id_number.trim_start_matches('*').to_owned());
    }
    Ok(())
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Returns a number for people. A zero is left out.
fn shown(number: u64, as_text: fn(u64) -> String) -> String {
    if number > 0 { as_text(number) } else { String::new() }
}

fn human(document: &Document, by_day: bool) -> String {
    let sheet = &document.sheet;
    let mut text = format!("{} ({}) {}\n\n", document.site, document.project, document.month);
    if by_day {
        let columns =
            ["DATE", "FIRST IN", "LAST OUT", "HOURS", "UNCONFIRMED", "DISPUTED", "PASSAGES", ""];
        let days = sheet.rows.iter().flat_map(|row| &row.days).map(|day| {
            let at = |at: Option<At>| at.map_or_else(|| "-".to_owned(), |at| at.on(day.date));
            let flags: Vec<_> = day.flags.iter().map(|flag| flag.english()).collect();
            vec![
                day.date.to_string(),
                at(day.first_in),
                at(day.last_out),
                hours(day.minutes),
                shown(day.minutes_unconfirmed, hours),
                shown(day.minutes_disputed, hours),
                print::stretches(day),
                flags.join(", "),
            ]
        });
        let _ = writeln!(text, "{}\n", super::table(&columns, days));
    }
    let columns = [
        "CONTRACTOR",
        "TEAM",
        "WORKER",
        "NAME",
        "DAYS",
        "HOURS",
        "DAYS UNCONFIRMED",
        "HOURS UNCONFIRMED",
        "DAYS DISPUTED",
        "HOURS DISPUTED",
        "NO ENTRY",
        "NO EXIT",
        "ADDED",
        "WITH ADDED",
    ];
    let line = |who: [&str; 4], totals: &Totals| {
        let with = totals.with_supplements.map(|with| hours(with.minutes)).unwrap_or_default();
        let mut cells = who.map(str::to_owned).to_vec();
        cells.extend([totals.days_present.to_string(), hours(totals.minutes)]);
        cells.push(shown(totals.unconfirmed.days.into(), |days| days.to_string()));
        cells.push(shown(totals.unconfirmed.minutes, hours));
        cells.push(shown(totals.disputed.days.into(), |days| days.to_string()));
        cells.push(shown(totals.disputed.minutes, hours));
        let counts = [totals.missing_in, totals.missing_out, totals.supplements];
        cells.extend(counts.map(|n| shown(n.into(), |n| n.to_string())));
        cells.push(with);
        cells
    };
    let rows = sheet.rows.iter();
    let mut lines: Vec<_> =
        rows.map(|r| line([&r.contractor, &r.team, &r.worker, &r.name], &r.totals)).collect();
    let groups = sheet.teams.iter().chain(&sheet.contractors);
    lines.extend(groups.map(|group| {
        let count = counted(group.workers, "worker");
        line(
            [&group.contractor, group.team.as_deref().unwrap_or("(all)"), "", &count],
            &group.totals,
        )
    }));
    lines.push(line(["(all)", "", "", &counted(sheet.workers, "worker")], &sheet.total));
    let _ = writeln!(text, "{}\n", super::table(&columns, lines));
    for disputed in &sheet.disputed {
        let by = disputed.disputed_by().unwrap_or_default();
        let ListedSeparately { seq, worker, name, direction, at, .. } = disputed;
        let at = at.minute();
        let _ =
            writeln!(text, "disputed: record {seq}, {worker} {name}, {direction} {at}; by {by}");
    }
    if !sheet.undated.is_empty() {
        let columns =
            ["NO DATE: SEQ", "WORKER", "NAME", "DIRECTION", "AFTER", "BEFORE", "CLOCK", "HOURS"];
        let at = |at: Option<At>| at.map_or_else(|| "?".to_owned(), |at| at.minute());
        let records = sheet.undated.iter().map(|record| {
            vec![
                record.seq.to_string(),
                record.worker.to_string(),
                record.name.to_string(),
                record.direction.to_string(),
                at(record.after),
                at(record.before),
                record.clock_showed.minute(),
                record.minutes.map(hours).unwrap_or_default(),
            ]
        });
        let _ = writeln!(text, "{}\n", super::table(&columns, records));
    }
    for source in &document.sources {
        let seq = source.first_seq.zip(source.last_seq);
        let seq = seq.map_or_else(|| "-".to_owned(), |(first, last)| format!("{first} to {last}"));
        let _ = writeln!(
            text,
            "gateway {}, ledger {}, seq {seq}, {}, read {}",
            source.gateway,
            source.ledger,
            counted(source.records, "record"),
            source.read_at.minute()
        );
        if let Some(HeadOf { tree_size, root, fingerprint, .. }) = &source.head {
            let _ = writeln!(
                text,
                "  signed head: {tree_size} entries, root {root}, key fingerprint {fingerprint}"
            );
        }
    }
    text
}
