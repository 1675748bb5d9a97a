//! Delivery of records to the platforms over MQTT.
//!
//! In: outbox rows, read from the database after each commit. Out: MQTT publishes. A row is struck
//! off once the broker, or the platform, has acknowledged it. Each upstream has its own task, so a
//! slow upstream delays no other. Touches: the network, and the table `outbox`.

pub mod authority;
mod client;
pub mod delivery;
mod link;
mod logins;
mod mqtt;
mod probe;
pub mod profiles;
mod route;
mod state;
mod terms;
#[cfg(test)]
mod tests;
pub mod tls;

use std::sync::Arc;

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use self::link::ASKED;
pub use self::{
    link::{Asked, COMMANDS, Context, Incoming, Link},
    probe::{Found, Note, Target, probe, trials},
    profiles::{Online, OnlineLane, Profile, check},
    state::{Certificate, CertificateOf, UpstreamState, Without},
};
use crate::{config::Upstream, turnstile::settings::Checked};

/// Starts the task of one upstream.
pub fn spawn(upstream: Upstream, context: Context) -> Checked<(Link, JoinHandle<()>)> {
    let profile = profiles::of(&upstream, &context.origin)?;
    Ok(begin(upstream, profile, context))
}

fn begin(
    upstream: Upstream,
    profile: Arc<dyn Profile>,
    context: Context,
) -> (Link, JoinHandle<()>) {
    let (state, watched) = watch::channel(UpstreamState {
        name: upstream.name.clone(),
        broker: upstream.brokers.first().map(ToString::to_string).unwrap_or_default(),
        since: context.clock.monotonic(),
        ack: upstream.ack,
        ..UpstreamState::default()
    });
    let (asked, asks) = mpsc::channel(ASKED);
    let task = tokio::spawn(mqtt::run(upstream, profile, context, state, asks));
    (Link { state: watched, asked }, task)
}
