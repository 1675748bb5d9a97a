//! `gatehouse demo`: the whole gate on this machine with nothing configured.

use std::process::ExitCode;

pub(super) async fn run() -> anyhow::Result<ExitCode> {
    anyhow::bail!("demo")
}
