//! `gatehouse lane …`: a gate opened by hand.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::Context;
use crate::{
    config::Direction,
    control::{Released, Request},
    ledger::Outcome,
    roster::WorkerId,
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Release a lane once; recorded with who asked, and as the worker's attendance if one is named
    Release(Release),
}

#[derive(Args)]
pub(super) struct Release {
    lane: String,
    /// entry or exit
    #[arg(long, value_parser = direction)]
    direction: Direction,
    /// The worker for whom a guard vouches
    #[arg(long, value_name = "ID")]
    worker: Option<WorkerId>,
    /// Why, in words
    #[arg(long)]
    reason: String,
}

fn direction(text: &str) -> Result<Direction, String> {
    let known = Direction::BOTH.into_iter().find(|d| d.to_string() == text);
    known.ok_or_else(|| "must be entry or exit".to_owned())
}

pub(super) async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    let Command::Release(Release { lane, direction, worker, reason }) = command;
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
