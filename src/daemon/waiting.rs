//! A start that waits for its disk.
//!
//! In: the reason. Out: answers on the control socket, the log, systemd's notification. The gates
//! are not driven meanwhile: without the database no grant can be committed (I1).

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::net::UnixListener;

use super::beginning::listen;
use crate::{config::Config, control};

/// Interval between two attempts to open the database.
const AGAIN: Duration = Duration::from_secs(5);

/// Answers clients with the reason, until the next attempt is due.
pub(super) async fn wait(
    config: &Config,
    problem: &str,
    listener: &mut Option<UnixListener>,
) -> anyhow::Result<()> {
    let problem = format!(
        "the gate waits for its disk, and no worker can pass: {problem}. Make room in {}, or check \
         the disk; the next attempt is in {} s",
        config.storage.dir.display(),
        AGAIN.as_secs()
    );
    tracing::error!(problem, "the gate does not work");
    let states = [NotifyState::Ready, NotifyState::Watchdog, NotifyState::Status(&problem)];
    if let Err(error) = sd_notify::notify(&states) {
        tracing::warn!(%error, "systemd's notify socket does not answer");
    }
    let listener = match listener {
        Some(listener) => listener,
        none => none.insert(listen(config)?),
    };
    let _ = tokio::time::timeout(AGAIN, control::refuse(listener, &problem)).await;
    Ok(())
}
