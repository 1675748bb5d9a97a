//! `gatehouse lane …`: a gate opened by hand, and how a lane works.

use std::process::ExitCode;

use clap::Subcommand;

use super::Context;
use crate::{
    control::Request,
    ledger::Outcome,
    services::{ModeChange, Release, Released},
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Release a lane once; recorded with who asked, and as the worker's attendance if one is named
    #[command(after_help = "Examples:
  gatehouse lane release north --direction entry --reason \"delivery of steel\"
  gatehouse lane release north --direction entry --worker W003 --reason \"guard Wang knows him\"")]
    Release(Release),
    /// How a lane works from now on; recorded, and kept across restarts
    #[command(after_help = "Examples:
  gatehouse lane mode north free --reason \"fire drill\"
  gatehouse lane mode north normal --reason \"fire drill is over\"")]
    Mode(ModeChange),
}

pub(super) async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    let release = match command {
        Command::Release(release) => release,
        Command::Mode(change) => {
            let set: ModeChange = context.ask(&Request::Mode(change)).await?;
            context.print(&set, |set| format!("lane {}: {}", set.lane, set.mode))?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    let released: Released = context.ask(&Request::Release(release)).await?;
    context.print(&released, |r| {
        let what = match r.answered.outcome {
            Outcome::Passed => "somebody walked through".to_owned(),
            Outcome::NotPassed | Outcome::Unconfirmed => r.answered.detail.clone(),
        };
        format!("lane {} {}: {what}", r.lane, r.direction)
    })?;
    // That nobody walked through an open gate is no failure of the command.
    Ok(if released.answered.released { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
