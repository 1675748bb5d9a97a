//! `gatehouse lane …`: a release by hand, the mode of a lane, and a live view of it.

mod picture;
mod watch;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};

use super::Context;
use crate::{
    config::Direction,
    control::Request,
    ledger::Outcome,
    services::{ModeChange, PictureQuery, Release, Released, Watch},
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
    /// its cameras. It shows neither photos nor names. Ctrl-C ends it. With --picture it saves one
    /// picture and ends
    #[command(after_help = "Examples:
  gatehouse lane watch north
  gatehouse --json lane watch north
  gatehouse lane watch north --picture north.jpg")]
    Watch(WatchArgs),
}

#[derive(Args)]
pub(super) struct WatchArgs {
    #[command(flatten)]
    watch: Watch,
    /// Save the view of the lane's camera: the zone in yellow, the face that is followed in green,
    /// others in the zone in orange, and faces that are set aside in red. Each face is covered by
    /// squares. An existing file is not replaced
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// The camera of this direction; by default the lane's first camera
    #[arg(long, requires = "picture", value_name = "entry|exit")]
    direction: Option<Direction>,
}

pub(super) async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    let release = match command {
        Command::Release(release) => release,
        Command::Watch(WatchArgs { watch, picture: None, .. }) => {
            return watch::run(context, watch).await;
        }
        Command::Watch(WatchArgs { watch, picture: Some(file), direction }) => {
            let query = PictureQuery { lane: watch.lane, direction };
            return picture::run(context, query, &file).await;
        }
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
