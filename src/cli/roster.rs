//! `gatehouse roster …`: confirms the roster after entries were lost.

use std::process::ExitCode;

use clap::Subcommand;

use super::Context;
use crate::{
    control::Request,
    services::{ConfirmRoster, RosterConfirmed},
    words::counted,
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// State that you have checked the roster after the database lost entries
    ///
    /// Until then every worker on the roster may pass, and each record has the flag roster_stale.
    /// Compare `gatehouse worker list` with your own list first: a worker who was suspended, barred or
    /// removed may be back, and a worker who was enrolled may be missing. The ledger keeps who confirmed.
    #[command(
        after_help = "Example:\n  gatehouse roster confirm --reason \"compared with the list of 12 October\""
    )]
    Confirm(ConfirmRoster),
}

pub(super) async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    let Command::Confirm(confirm) = command;
    let confirmed: RosterConfirmed = context.ask(&Request::ConfirmRoster(confirm)).await?;
    context.print(&confirmed, |RosterConfirmed { workers, version, .. }| {
        let workers = counted(u64::from(*workers), "worker");
        format!("the roster is confirmed: {workers}, version {version}; records are not flagged any more")
    })?;
    Ok(ExitCode::SUCCESS)
}
