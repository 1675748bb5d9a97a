//! `gatehouse lane …`: a gate opened by hand, and how a lane works.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::Context;
use crate::{
    config::Direction,
    control::Request,
    ledger::{LaneMode, Outcome},
    roster::WorkerId,
    services::{ModeSet, Released},
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
    Mode(Mode),
}

#[derive(Args)]
pub(super) struct Mode {
    /// The lane's name, as the configuration has it
    lane: String,
    /// normal; free: it stands open both ways; closed: nobody enters, whoever is inside leaves
    #[arg(value_parser = mode)]
    mode: LaneMode,
    /// Why, in words
    #[arg(long)]
    reason: String,
}

fn mode(text: &str) -> Result<LaneMode, String> {
    LaneMode::from_word(text).ok_or_else(|| "must be normal, free or closed".to_owned())
}

#[derive(Args)]
pub(super) struct Release {
    /// The lane's name, as the configuration has it
    lane: String,
    /// entry or exit
    #[arg(long, value_parser = direction)]
    direction: Direction,
    /// Why, in words
    #[arg(long)]
    reason: String,
    /// The worker for whom a guard vouches
    #[arg(long, value_name = "ID")]
    worker: Option<WorkerId>,
}

pub(super) fn direction(text: &str) -> Result<Direction, String> {
    let known = Direction::BOTH.into_iter().find(|d| d.to_string() == text);
    known.ok_or_else(|| "must be entry or exit".to_owned())
}

pub(super) async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    let Release { lane, direction, worker, reason } = match command {
        Command::Release(release) => release,
        Command::Mode(Mode { lane, mode, reason }) => {
            let request = Request::Mode { lane, mode, reason };
            let set: ModeSet = context.client().await?.ask(&request, |_: Value| {}).await?;
            context.print(&set, |set| format!("lane {}: {}", set.lane, set.mode))?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    let request = Request::Release { lane, direction, worker, reason };
    let released: Released = context.client().await?.ask(&request, |_: Value| {}).await?;
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
