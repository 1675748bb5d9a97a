//! `gatehouse bench`: measures this machine: each stage of a frame, lanes, commits on its disk,
//! and the proofs of a ledger.

#![allow(clippy::disallowed_methods, reason = "it measures")]

mod commits;
pub mod crowd;
mod lanes;
mod ledger;
mod process;
mod stages;

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use image::{
    DynamicImage, RgbImage,
    codecs::jpeg::JpegEncoder,
    imageops::{self, FilterType},
};
use serde::Serialize;

use super::{Context, rig::unless_interrupted};
use crate::vision;

#[derive(clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  gatehouse bench\n  gatehouse bench --workers 200 --rounds 10"
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    measurement: Option<Measurement>,
    #[command(flatten)]
    stages: stages::Arguments,
}

/// Measurements of one part. All but `ledger` are done in seconds.
#[derive(clap::Subcommand)]
enum Measurement {
    /// Measure how long the commits of a passage take on the disk
    #[command(after_help = "Example:\n  gatehouse bench commits --dir /var/lib/gatehouse")]
    Commits(commits::Arguments),
    /// Measure the CPU load of lanes, idle and busy, and the time from a face to the release
    #[command(after_help = "Example:\n  gatehouse bench lanes --lanes 1,4 --seconds 10")]
    Lanes(lanes::Arguments),
    /// Measure the proofs of a ledger of years: the audit, evidence packages, and what the tree adds
    /// to a commit
    #[command(after_help = "Example:\n  gatehouse bench ledger --dir /var/lib --entries 1300000")]
    Ledger(ledger::Arguments),
}

/// Quantiles of a duration, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Times {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

impl Times {
    pub fn of(mut samples: Vec<Duration>) -> Times {
        samples.sort();
        let at = |quantile: f64| {
            let index = (samples.len() as f64 * quantile) as usize;
            let sample = samples.get(index.min(samples.len().saturating_sub(1)));
            sample.map_or(f64::NAN, |d| d.as_secs_f64() * 1000.0)
        };
        Times { p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }

    /// Returns a line of the table.
    pub fn row(&self, what: &str) -> String {
        format!("{what:<38}{:9.2} {:9.2} {:9.2}\n", self.p50, self.p99, self.max)
    }
}

fn table_head() -> String {
    format!("\n{:<38}{:>9} {:>9} {:>9}\n", "ms", "p50", "p99", "max")
}

/// Puts a photo on a 1280x720 background, as large as fits below `top`.
fn before(mut background: RgbImage, photo: &[u8], top: u32) -> anyhow::Result<RgbImage> {
    let photo = vision::decode(photo)?;
    let photo = RgbImage::from_raw(photo.width(), photo.height(), photo.rgb().to_vec());
    let photo = DynamicImage::from(photo.context("the photo's pixels")?);
    let photo = photo.resize(1280, 720 - top, FilterType::Triangle).to_rgb8();
    let left = (1280 - photo.width()) / 2;
    imageops::overlay(&mut background, &photo, left.into(), top.into());
    Ok(background)
}

fn jpeg(picture: &RgbImage, quality: u8) -> anyhow::Result<Vec<u8>> {
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, quality).encode_image(picture)?;
    Ok(jpeg)
}

pub(super) async fn run(context: &Context, arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.measurement {
        None => {
            let report = unless_interrupted(stages::measure(context, arguments.stages)).await?;
            context.print(&report, stages::human)?;
        }
        Some(Measurement::Commits(arguments)) => {
            let report = unless_interrupted(commits::measure(arguments)).await?;
            context.print(&report, commits::human)?;
        }
        Some(Measurement::Lanes(arguments)) => {
            let rows = unless_interrupted(lanes::measure(&arguments)).await?;
            context.print(&rows, |rows| lanes::human(rows, &arguments))?;
        }
        Some(Measurement::Ledger(arguments)) => {
            let report = unless_interrupted(ledger::measure(arguments)).await?;
            context.print(&report, ledger::human)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
