//! `gatehouse bench`: this machine's own figures, by stage.

use std::process::ExitCode;

use super::Context;

#[derive(clap::Args)]
pub(super) struct Arguments {}

pub(super) async fn run(_context: &Context, _arguments: Arguments) -> anyhow::Result<ExitCode> {
    anyhow::bail!("bench")
}
