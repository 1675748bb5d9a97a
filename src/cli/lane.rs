//! `gatehouse lane …`: a release by hand, the mode of a lane, and a live view of it.

mod watch;

use std::process::ExitCode;

use clap::Subcommand;

use super::Context;
use crate::{
    control::Request,
    ledger::Outcome,
    services::{ModeChange, Release, Released, Watch},
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Release the turnstile for one passage. The record names the user who asked. With --worker,
    /// it is also the worker's attendance
    #[command(after_help = "Examples:
  gatehouse lane release north --direction entry --reason \"delivery of steel\"
  gatehouse lane release north --direction entry --worker W003 --reason \"guard Wang knows him\"")]
    Release(Release),
    /// Set the mode of a lane: normal, free or closed. It is recorded, and stays after a restart
    #[command(after_help = "Examples:
  gatehouse lane mode north free --reason \"fire drill\"
  gatehouse lane mode north normal --reason \"fire drill is over\"")]
    Mode(ModeChange),
    /// Show live what happens at a lane: inputs and counters of its controller, the frames of its
    /// cameras, each look at a face, and each decision. For the person who wires the lane and aims
    /// its cameras. It shows neither photos nor names. Ctrl-C ends it
    #[command(after_help = "Examples:
  gatehouse lane watch north
  gatehouse --json lane watch north")]
    Watch(Watch),
}

pub(super) async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    let release = match command {
        Command::Release(release) => release,
        Command::Watch(watch) => return watch::run(context, watch).await,
        Command::Mode(change) => {
            let set: ModeChange = context.ask(&Request::Mode(change)).await?;
            context.print(&set, |set| format!("lane {}: {}", set.lane, set.mode))?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    let released: Released = context.ask(&Request::Release(release)).await?;
    context.print(&released, |r| {
        let what = match r.answered.outcome {
            Outcome::Passed => "a person walked through".to_owned(),
            Outcome::NotPassed | Outcome::Unconfirmed => r.answered.detail.clone(),
        };
        format!("lane {} {}: {what}", r.lane, r.direction)
    })?;
    // The command succeeds if the turnstile was released, even if no person walked through.
    Ok(if released.answered.released { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
