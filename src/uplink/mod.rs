//! Delivery of records to the platforms, over MQTT, HTTPS and TCP.
//!
//! In: outbox rows, read from the database after each commit. Out: MQTT publishes ([`mqtt`]), or
//! calls that the platform answers row by row ([`exchange`]). A row is struck off once the broker, or
//! the platform, has acknowledged it. Each upstream has its own task, so a
//! slow upstream delays no other. Touches: the network, and the table `outbox`.

mod attached;
pub mod authority;
mod client;
pub mod delivery;
mod exchange;
mod https;
mod link;
mod logins;
mod mqtt;
pub mod photos;
mod probe;
pub mod profiles;
mod route;
mod rows;
mod set_aside;
mod state;
mod suspects;
mod tcp;
mod terms;
#[cfg(test)]
mod tests;
pub mod tls;
mod wire;

use std::sync::Arc;

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use self::link::ASKED;
pub use self::{
    https::{Reached, reach},
    link::{Asked, COMMANDS, Context, Incoming, Link},
    photos::Photos,
    probe::{Found, Note, Target, probe, trials},
    profiles::{Online, OnlineLane, Profile, Talk, check},
    state::{Certificate, CertificateOf, UpstreamState, Without},
};
use crate::{config::Upstream, turnstile::settings::Checked};

/// Tries each session of an upstream that has sessions over TCP. Returns what came of each.
pub async fn sessions(
    upstream: &Upstream,
    profile: &dyn Profile,
    clock: Arc<dyn crate::clock::Clock>,
) -> Option<Vec<(String, Result<(), String>)>> {
    match (profile.talk(), upstream.url.clone()) {
        (Talk::Tcp(sessions), Some(url)) => Some(tcp::tried(url, sessions, clock).await),
        _ => None,
    }
}

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
        broker: upstream.address(),
        since: context.clock.monotonic(),
        ack: upstream.ack,
        ..UpstreamState::default()
    });
    let (asked, asks) = mpsc::channel(ASKED);
    let task = match profile.talk() {
        Talk::Mqtt => tokio::spawn(mqtt::run(upstream, profile, context, state, asks)),
        Talk::Https(_) | Talk::Tcp(_) => {
            tokio::spawn(exchange::run(upstream, profile, context, state, asks))
        }
    };
    (Link { state: watched, asked }, task)
}
