//! `gatehouse upstream …`: the records that a platform refused.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::Value;

use super::Context;
use crate::{
    control::Request,
    services::{DismissQuery, DismissedRecords, RefusedRecord, Retried, UpstreamQuery},
    words::counted,
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// List the records that a platform refused, each with its reason
    ///
    /// They hold nothing up. For a record of a database that was set aside, SEQ names its folder. They are offered again when the daemon starts, and after
    /// `gatehouse upstream retry`. Where the gateway lacks something, such as an ID number, they are
    /// offered again when the roster changes.
    #[command(after_help = "Example:\n  gatehouse upstream refused guizhou")]
    Refused(UpstreamQuery),
    /// Note that refused records need nothing more, such as those that a platform can never take
    ///
    /// They stay in the ledger and in the list of `gatehouse upstream refused`. `gatehouse status`
    /// does not name them as a trouble. They are offered again only by `gatehouse upstream retry`.
    #[command(after_help = "Example:\n  gatehouse upstream dismiss guizhou 118 121")]
    Dismiss(DismissQuery),
    /// Offer refused records to the platform again, when their cause is mended
    #[command(after_help = "Example:\n  gatehouse upstream retry guizhou")]
    Retry(UpstreamQuery),
}

pub(super) async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Refused(query) => {
            let head = ["SEQ", "AT", "WORKER", "NAME", "TEAM", "DIRECTION", "WHO", "REASON"];
            let row = |record: RefusedRecord| {
                let who = match (record.dismissed, record.here) {
                    (true, _) => "dismissed",
                    (false, true) => "gateway",
                    (false, false) => "platform",
                };
                let [at, worker, name, team, direction] = match record.passage {
                    Some(p) => [p.at, p.worker, p.worker_name, p.team, p.direction],
                    None => Default::default(),
                };
                let seq = match record.set_aside {
                    Some(folder) => format!("{} in {folder}", record.seq),
                    None => record.seq.to_string(),
                };
                vec![seq, at, worker, name, team, direction, who.to_owned(), record.reason]
            };
            let _: Value = context.list(&Request::Refused(query), &head, row).await?;
        }
        Command::Dismiss(query) => {
            let done: DismissedRecords = context.ask(&Request::DismissRefused(query)).await?;
            context.print(&done, |DismissedRecords { records }| {
                format!("{} dismissed", counted(*records, "record"))
            })?;
        }
        Command::Retry(query) => {
            let retried: Retried = context.ask(&Request::RetryRefused(query)).await?;
            context.print(&retried, |Retried { records }| {
                format!("{} offered again", counted(*records, "record"))
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
