//! `gatehouse run`: runs the daemon in the foreground until SIGTERM, SIGINT or a failure, and tells
//! systemd its state.

use std::{process::ExitCode, sync::Arc, time::Duration};

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use super::Context;
use crate::{clock::SystemClock, daemon, memory};

pub(super) async fn run(context: &Context) -> anyhow::Result<ExitCode> {
    memory::locked::forbid_dumps();
    let config = context.config()?;
    super::log::start(config.site.timezone.clone())?;
    #[cfg(feature = "failpoints")]
    let _failpoints = fail::FailScenario::setup();
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let clock = Arc::new(SystemClock::new()?);
    let mut running = tokio::select! {
        running = daemon::start(&config, clock) => running?,
        // A start may wait for its disk for a long time.
        _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
        _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        gateway = %running.services.origin.gateway,
        socket = %config.control.socket.display(),
        "running"
    );
    tell_systemd(NotifyState::Ready);
    let failure = tokio::select! {
        error = running.failure() => Some(error),
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    };
    tell_systemd(NotifyState::Stopping);
    force_exit_after(daemon::SHUTDOWN + Duration::from_secs(2));
    match failure {
        Some(error) => {
            tracing::error!(error = %super::in_words(&error), "stopping");
            if let Err(also) = running.shutdown().await {
                tracing::error!(error = %super::in_words(&also), "the shutdown failed too");
            }
            Err(error)
        }
        None => {
            tracing::info!("stopping");
            running.shutdown().await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Ends the process after the timeout. The shutdown has a timeout of its own, which needs a working
/// runtime; this thread does not.
fn force_exit_after(timeout: Duration) {
    let gives_up = move || {
        std::thread::sleep(timeout);
        tracing::error!("the shutdown takes too long: ending the process now");
        std::process::exit(1);
    };
    if let Err(error) = std::thread::Builder::new().name("last resort".into()).spawn(gives_up) {
        tracing::warn!(%error, "no thread to force the exit: only systemd limits the shutdown time");
    }
}

fn tell_systemd(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "systemd's notify socket does not answer");
    }
}
