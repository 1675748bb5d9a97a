//! `gatehouse evidence …`: packages that prove a worker's attendance, and the state of the ledger.
//! `verify` needs no daemon and no configuration.

use std::{
    fmt::Write as _,
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use jiff::civil::Date;

use super::{Context, WholeFile, table};
use crate::{
    control::{AuditProgress, PackageSent, Piece, Request},
    evidence::{self, Gap, Known, OutageShown, Report},
    ledger::ConsentChange,
    roster::WorkerId,
    services::{Audited, EvidenceQuery, HeadShown, HealthQuery},
    status::Status,
    words::{counted, day},
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Write a worker's attendance with its proofs into one file
    ///
    /// The file holds this worker's entries alone, and opens the commitment to the ID number. Give
    /// it to the worker, a court or an authority. A sheet to print (A4, Chinese) is written beside it,
    /// with the ending `.html`: the days, and a QR code that says to which file it belongs.
    #[command(after_help = "Example:
  gatehouse evidence export --worker W001 --from 2026-10-01 --to 2026-10-31 --out W001.cbor")]
    Export(Export),
    /// Say what a package proves; needs no daemon and no configuration
    ///
    /// The exit code is 0 if all proofs hold, and 1 if the package is refused.
    #[command(after_help = "Examples:
  gatehouse evidence verify W001.cbor
  gatehouse evidence verify W001.cbor --head october.head")]
    Verify(Verify),
    /// Show the signed head of the whole ledger, or save it for a later comparison
    #[command(after_help = "Examples:
  gatehouse evidence head
  gatehouse evidence head --out october.head")]
    Head(Head),
    /// Show when the gate was down, or a camera, a controller or the disk was lost
    ///
    /// No record of such a time does not mean that a worker was absent.
    #[command(after_help = "Example:
  gatehouse evidence health --from 2026-10-01 --to 2026-10-31")]
    Health(Health),
    /// Check the whole ledger of this gateway
    ///
    /// Each entry is compared with its row and with the entry that it is about, and the tree with
    /// the newest signed head. The exit code is 1 if something is wrong.
    #[command(after_help = "Example:\n  gatehouse evidence audit")]
    Audit,
}

#[derive(Args)]
pub(super) struct Export {
    /// The worker
    #[arg(long, value_name = "ID", display_order = 1)]
    worker: WorkerId,
    /// First day, such as 2026-10-01
    #[arg(long, value_name = "DATE", value_parser = day, display_order = 2)]
    from: Date,
    /// Last day
    #[arg(long, value_name = "DATE", value_parser = day, display_order = 3)]
    to: Date,
    /// The file to write; the sheet gets the same name with the ending .html
    #[arg(long, value_name = "FILE", display_order = 4)]
    out: PathBuf,
    /// A head that the reader of the package has: a file of `evidence head`. Repeat for more
    #[arg(long = "head", value_name = "FILE", display_order = 5)]
    heads: Vec<PathBuf>,
    /// Replace the files if they exist
    #[arg(long, display_order = 6)]
    force: bool,
}

#[derive(Args)]
pub(super) struct Verify {
    /// The package's file
    #[arg(value_name = "FILE")]
    package: PathBuf,
    /// The fingerprint of the gateway's key, from elsewhere: 64 hexadecimal digits
    #[arg(long, value_name = "HEX", value_parser = fingerprint)]
    fingerprint: Option<Fingerprint>,
    /// A head from elsewhere: a file of `evidence head`, or the `head` of a platform's message
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct Health {
    /// First day, such as 2026-10-01
    #[arg(long, value_name = "DATE", value_parser = day, display_order = 1)]
    from: Date,
    /// Last day
    #[arg(long, value_name = "DATE", value_parser = day, display_order = 2)]
    to: Date,
}

#[derive(Args)]
pub(super) struct Head {
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long, requires = "out")]
    force: bool,
}

/// The SHA-256 hash of a public key.
#[derive(Clone, Copy)]
pub(super) struct Fingerprint(pub [u8; 32]);

pub(super) fn fingerprint(text: &str) -> Result<Fingerprint, String> {
    let mut hash = [0; 32];
    let digits = text.replace([' ', ':'], "");
    hex::decode_to_slice(digits, &mut hash)
        .map_err(|_| "must be 64 hexadecimal digits".to_owned())?;
    Ok(Fingerprint(hash))
}

pub(super) async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Export(export) => self::export(context, export).await,
        Command::Verify(verify) => self::verify(context, verify),
        Command::Health(health) => self::health(context, health).await,
        Command::Head(head) => self::head(context, head).await,
        Command::Audit => audit(context).await,
    }
}

async fn export(context: &Context, export: Export) -> anyhow::Result<ExitCode> {
    let Export { worker, from, to, heads, out, force } = export;
    let earlier = heads.iter().map(|file| Ok(hex::encode(read_head(file)?)));
    let earlier = earlier.collect::<anyhow::Result<_>>()?;
    let beside = out.with_extension("html");
    anyhow::ensure!(beside != out, "{} is for the sheet: give another --out", out.display());
    let starts = context.site().await?.0.day_starts_at;
    let mut file = WholeFile::begin(&out, force)?;
    let mut paper = WholeFile::begin(&beside, force)?;
    let (mut package, mut broken) = (Vec::new(), false);
    let each = |piece: Piece| match hex::decode(piece.hex) {
        Ok(bytes) => package.extend(bytes),
        Err(_) => broken = true,
    };
    let query = EvidenceQuery { worker, from, to, earlier };
    let sent: PackageSent = context.client().await?.list(&Request::Evidence(query), each).await?;
    anyhow::ensure!(
        !broken && package.len() == sent.bytes,
        "the package arrived incomplete: run the command again"
    );
    let report = evidence::verify(&package, &Known::default())?;
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let sheet = evidence::sheet(&report, &name, starts)?;
    for (to, bytes) in [(&mut file, &package[..]), (&mut paper, sheet.as_bytes())] {
        let named = || format!("{} cannot be written", to.path.display());
        to.file.write_all(bytes).with_context(named)?;
    }
    file.finish()?;
    paper.finish()?;
    context.print(&sent, |sent| {
        format!(
            "{}: {} of worker {}, {} bytes; its reader needs the fingerprint {}\n{}: the sheet to print",
            out.display(),
            counted(report.attendance.len() as u64, "record"),
            report.worker,
            sent.bytes,
            report.fingerprint,
            beside.display()
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Reads a head: the COSE_Sign1 message, or its hexadecimal digits.
fn read_head(file: &PathBuf) -> anyhow::Result<Vec<u8>> {
    let bytes =
        std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let text = std::str::from_utf8(&bytes).ok().and_then(|text| hex::decode(text.trim()).ok());
    Ok(text.unwrap_or(bytes))
}

fn verify(context: &Context, verify: Verify) -> anyhow::Result<ExitCode> {
    let name = verify.package.display();
    let size = std::fs::metadata(&verify.package).map(|meta| meta.len());
    let size = size.with_context(|| format!("{name} cannot be read"))?;
    anyhow::ensure!(size <= evidence::MOST_BYTES as u64, "{name} is too large for a package");
    let package =
        std::fs::read(&verify.package).with_context(|| format!("{name} cannot be read"))?;
    let head = verify.head.as_ref().map(read_head).transpose()?;
    let known = Known { fingerprint: verify.fingerprint.map(|hash| hash.0), head };
    match evidence::verify(&package, &known) {
        Ok(report) => {
            let text = |report: &Report| in_words(report, &known);
            context.print(&report, text)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(refused) => Err(anyhow::anyhow!("{name} proves nothing: {refused}")),
    }
}

fn in_words(report: &Report, known: &Known) -> String {
    let mut out = String::new();
    let rows = report.attendance.iter().map(|record| {
        let lane = record.lane.clone().unwrap_or_else(|| "-".to_owned());
        let clock = (!record.clock.synced).then(|| "clock not synchronised".to_owned());
        let disputed =
            record.dispute.as_ref().map(|d| format!("disputed by {}: {}", d.by, d.reason));
        let remarks: Vec<_> = clock.into_iter().chain(disputed).collect();
        vec![
            record.at.clone(),
            record.direction.to_string(),
            lane,
            record.outcome.to_string(),
            record.means.to_string(),
            remarks.join("; "),
        ]
    });
    let records = table(&["AT", "DIRECTION", "LANE", "OUTCOME", "MEANS", ""], rows);
    let identity = match (&report.id_type, &report.id_number) {
        (Some(id_type), Some(number)) => format!(", ID document {id_type} {number}"),
        _ => ", ID document not opened".to_owned(),
    };
    // Writing into a String cannot fail.
    let _ = writeln!(out, "file      SHA-256 {}", report.sha256);
    let _ = writeln!(out, "worker    {}{identity}", report.worker);
    let _ = writeln!(
        out,
        "gateway   {}, project {}, ledger {}",
        report.gateway, report.project, report.ledger
    );
    let _ = writeln!(out, "days      {} to {}\n{records}", report.from, report.until);
    if !report.outages.is_empty() {
        let _ = writeln!(
            out,
            "\nnot recorded: in these times no record does not mean that the worker was absent\n{}\n",
            in_table(&report.outages)
        );
    }
    let _ = writeln!(
        out,
        "ok        {} stood unchanged in the ledger of {} when the gateway signed it, at {}{}",
        counted(report.entries as u64, "entry"),
        counted(report.tree_size, "entry"),
        report.signed_at,
        if report.synced { "" } else { " (its clock was not synchronised)" }
    );
    let anchor = match (report.anchor.fingerprint, report.anchor.earlier_head) {
        (true, true) => "ok        the key and the earlier head are the ones that you gave".to_owned(),
        (true, false) if known.head.is_some() => {
            "partly    the key is the one that you gave. The package has no proof for your earlier \
             head: ask for an export with --head"
                .to_owned()
        }
        (true, false) => {
            "partly    the key is the one that you gave. Without an earlier head, the whole ledger may \
             have been rewritten before this head was signed"
                .to_owned()
        }
        (false, _) => format!(
            "unanchored  anyone can make such a file with a key of their own. Compare the \
             fingerprint {} with one from elsewhere, or give it with --fingerprint",
            report.fingerprint
        ),
    };
    for Gap { index, at, entries, first, last } in &report.lost {
        let _ = writeln!(
            out,
            "lost      at {at} the gateway noticed that it had lost {} or more, from number {index} on: \
             records {first} to {last}. A head that was signed over them cannot be proven; records \
             that a platform has of them are true",
            counted(*entries, "entry")
        );
    }
    for ConsentChange { purpose, what, on, form, .. } in &report.consents {
        let form = form.as_ref().map_or_else(String::new, |form| format!(" (form {form})"));
        let _ = writeln!(out, "consent   to {purpose}: {what} on {on}{form}");
    }
    let _ = writeln!(out, "{anchor}");
    let _ = writeln!(
        out,
        "not shown whether entries of this worker are missing from the file, and whether the gate \
         saw right"
    );
    out
}

async fn health(context: &Context, Health { from, to }: Health) -> anyhow::Result<ExitCode> {
    let mut outages = Vec::new();
    let each = |outage: OutageShown| outages.push(outage);
    let query = HealthQuery { from, to };
    let _: serde_json::Value = context.client().await?.list(&Request::Health(query), each).await?;
    context.print(&outages, |outages| match outages[..] {
        [] => format!("ok: from {from} to {to} the gate was neither down nor blind"),
        _ => in_table(outages),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn in_table(outages: &[OutageShown]) -> String {
    let rows = outages.iter().map(|outage| {
        let part = outage.subject.as_ref().map(|subject| format!(" {subject}")).unwrap_or_default();
        let lasted = match outage.lasted_s {
            Some(s) if outage.certain => format!("{}:{:02} h", s / 3600, s / 60 % 60),
            _ => "unknown".to_owned(),
        };
        vec![
            outage.from.clone(),
            outage.until.clone().unwrap_or_else(|| "-".to_owned()),
            lasted,
            format!("{}{part}", outage.what),
            outage.why.clone(),
        ]
    });
    table(&["FROM", "UNTIL", "LASTED", "LOST", "WHY"], rows)
}

async fn head(context: &Context, head: Head) -> anyhow::Result<ExitCode> {
    let file = head.out.as_deref().map(|out| WholeFile::begin(out, head.force)).transpose()?;
    let shown: HeadShown = context.ask(&Request::Head).await?;
    if let Some(mut file) = file {
        let named = || format!("{} cannot be written", file.path.display());
        writeln!(file.file, "{}", shown.head).with_context(named)?;
        file.finish()?;
    }
    context.print(&shown, |shown| {
        format!(
            "gateway      {}\nledger       {}\nentries      {}\nroot         {}\nat           \
             {}{}\nkey          {}\nfingerprint  {}",
            shown.gateway,
            shown.ledger,
            shown.tree_size,
            shown.root,
            shown.at,
            if shown.synced { "" } else { " (clock not synchronised)" },
            shown.key,
            shown.fingerprint
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn audit(context: &Context) -> anyhow::Result<ExitCode> {
    let mut client = context.client().await?;
    let status: Status = client.ask(&Request::Status).await?;
    let bar =
        std::io::stderr().is_terminal().then(|| ProgressBar::new(status.ledger.size.unwrap_or(0)));
    let each = |progress: AuditProgress| {
        if let Some(bar) = &bar {
            bar.set_position(progress.audited);
        }
    };
    let done: Audited = client.list(&Request::Audit, each).await?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let sound = done.faults == 0 && done.other_roots.is_empty();
    context.print(&done, |done| {
        if sound {
            let entries = counted(done.entries, "entry");
            return format!("ok: {entries}, and the newest signed head is still true");
        }
        let rows = done.findings.iter().map(|f| vec![f.index.to_string(), f.fault.to_string()]);
        let mut text = table(&["ENTRY", "FAULT"], rows);
        for size in &done.other_roots {
            let _ = write!(
                text,
                "\nthe ledger is not the one of {size} entries that this gateway signed"
            );
        }
        let faults = counted(done.faults, "entry");
        let _ = write!(
            text,
            "\n{faults} of {} altered or damaged. Nothing was repaired: keep a copy of the storage \
             folder as evidence, and ask who had access",
            done.entries
        );
        text
    })?;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
