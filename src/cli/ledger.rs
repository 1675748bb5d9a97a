//! `gatehouse ledger …`: reads what is legible of a damaged database, and begins a new ledger. It needs
//! no daemon.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::Context;
use crate::{
    clock::{Clock as _, SystemClock},
    ledger::Via,
    ledger::rescue::{Rescued, rescue},
    roster::checked_text,
    services::actor,
    store,
    words::counted,
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Copy the legible entries of a damaged database that was set aside into a readable file
    ///
    /// The damaged files are not changed. The file rescued.db is written beside them, and from then on
    /// lists, sheets and exports read it, and its unsent records go upstream under their own ledger id.
    /// The daemon may run.
    ///
    /// Exit code 0: all entries up to the last one found were rescued, and the outbox. 1: not all, and
    /// the report says which; or nothing.
    #[command(after_help = "Examples:
  gatehouse ledger rescue
  gatehouse ledger rescue 1-20261122T033855Z")]
    Rescue(Rescue),
    /// Begin a new ledger after a copy was put back that the gateway cannot notice; stop the daemon
    /// first
    ///
    /// The database is set aside: lists, sheets and exports still include it, and its unsent records go
    /// upstream under their own ledger id. The first event of the new ledger names the old one, and
    /// gives the reason and your name. Roster, photos and lane modes are carried over.
    #[command(after_help = "Example:
  gatehouse ledger renew --reason \"card replaced, copy of 12 October put back\"")]
    Renew(Renew),
}

#[derive(Args)]
pub(super) struct Renew {
    /// The reason, in your own words
    #[arg(long)]
    reason: String,
}

#[derive(Args)]
pub(super) struct Rescue {
    /// The folder in set-aside/ of the storage folder [default: the newest one]
    #[arg(value_name = "FOLDER")]
    folder: Option<String>,
}

#[derive(Serialize)]
struct Report {
    folder: String,
    #[serde(flatten)]
    rescued: Rescued,
}

pub(super) fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    let config = context.config()?;
    let folder = match command {
        Command::Rescue(Rescue { folder }) => folder,
        Command::Renew(Renew { reason }) => {
            let by = actor(nix::unistd::getuid().as_raw(), Via::Console);
            let reason = checked_text("reason", &reason, 200)?;
            let stamp = SystemClock::new()?.stamp();
            let place = store::renew(&config.storage, stamp, &by.user, &reason)?;
            context.print(&serde_json::json!({ "set_aside": place }), |_| {
                format!("the old ledger is in {}; now start the daemon", place.display())
            })?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    let all = store::all_set_aside(&config.storage.dir);
    let named = |place: &std::path::PathBuf| match &folder {
        Some(folder) => place.file_name().is_some_and(|name| *name == **folder),
        None => true,
    };
    let place = all.into_iter().rev().find(named).with_context(|| {
        format!("no such database was set aside in {}", config.storage.dir.display())
    })?;
    let upstreams: Vec<String> = config.upstreams.iter().map(|u| u.name.clone()).collect();
    let rescued = rescue(&place, &upstreams)?;
    let whole = rescued.is_whole();
    let folder = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
    context.print(&Report { folder, rescued }, human)?;
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn human(Report { folder, rescued }: &Report) -> String {
    let Rescued { file, ledger, entries, by_bytes, missing, missing_at, waiting, outbox } = rescued;
    let Some(ledger) = ledger else {
        return format!("{folder}: no entry is legible: nothing is rescued");
    };
    let mut text = format!(
        "{folder}: {} of ledger {ledger} rescued into {}, {by_bytes} of them from damaged parts",
        counted(*entries, "entry"),
        file.display()
    );
    if *missing > 0 {
        let ranges = missing_at.iter().map(|(first, last)| format!("{first} to {last}"));
        let ranges = ranges.collect::<Vec<_>>().join(", ");
        text += &format!(
            "\n{} not rescued: number {ranges}. How many came after the last one is not known",
            counted(*missing, "entry")
        );
    }
    let records = counted(*waiting, "record");
    text += &match outbox {
        true => format!("\n{records} not acknowledged: a running daemon sends what waits"),
        false => format!(
            "\nwhich records were acknowledged is not legible: a running daemon sends all, {records}"
        ),
    };
    text
}
