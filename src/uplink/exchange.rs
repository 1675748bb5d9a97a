//! The task of an upstream whose platform answers each call: one [`Wire`] after another.
//!
//! In: the upstream's configuration, requests and commits. Out: [`UpstreamState`], and what
//! [`Rows`] does to the outbox. The platform judges each row. A row leaves the outbox on its final
//! verdict. A refused row stands aside with the platform's words and holds nothing up. A row that
//! the platform judges later waits in the outbox, with the number of its call beside it. Touches:
//! the network (through the wire), the outbox and the clock.

mod pauses;
mod session;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

use self::session::Session;
use super::{
    authority::Authority,
    delivery::Delivery,
    link::{Asked, Context, LinkError},
    mqtt::jittered,
    profiles::{Profile, Talk},
    rows::{Rows, recount},
    state::UpstreamState,
    suspects::Suspects,
    tls::Safety,
    wire::Wire,
};
use crate::{
    clock::Clock,
    config::Upstream,
    supervision::{Backoff, Refusals, caught},
};

/// Maximum number of rows that wait for a platform's verdict. Beyond it no further row is sent.
pub const UNDECIDED: usize = 1024;

/// Minimum time after which a connection counts as good even if no row was acknowledged.
const HELD: Duration = Duration::from_secs(30);
/// Interval between looks at what is due without a row.
const TICK: Duration = Duration::from_secs(1);

/// Keeps the upstream connected until the daemon stops.
pub(super) async fn run(
    upstream: Upstream,
    profile: Arc<dyn Profile>,
    context: Context,
    state: watch::Sender<UpstreamState>,
    asked: mpsc::Receiver<Asked>,
) {
    let safety = Arc::new(Safety::new(&upstream.tls()));
    let make = {
        let (upstream, profile) = (upstream.clone(), profile.clone());
        let (clock, safety) = (context.clock.clone(), safety.clone());
        move || wire(&upstream, &*profile, &clock, &safety)
    };
    run_over(make, (upstream, profile, safety, TICK), context, state, asked).await;
}

/// Does the same over connections that `make` makes.
async fn run_over(
    make: impl Fn() -> Option<Box<dyn Wire>>,
    (upstream, profile, safety, tick): (Upstream, Arc<dyn Profile>, Arc<Safety>, Duration),
    context: Context,
    state: watch::Sender<UpstreamState>,
    mut asked: mpsc::Receiver<Asked>,
) {
    let name = upstream.name.clone();
    let mut delivery = Delivery::new(upstream.ack, context.sent_before).without_repeats();
    let (mut backoff, mut refusals) = (Backoff::default(), Refusals::default());
    let mut down_since = context.clock.monotonic();
    let mut suspects = Suspects::default();
    // The warning comes once, not at each attempt, because a link may be down for days.
    let mut last_told = None;
    loop {
        let began = context.clock.monotonic();
        let acknowledged = state.borrow().acknowledged;
        let (authority, problem) = Authority::load(&upstream, &context.origin);
        state.send_modify(|s| s.command_key_error = problem);
        let ended = match make() {
            None => return,
            Some(wire) => {
                let rows = Rows::new((&upstream, &profile), &context, &state, &mut delivery);
                let mut session = Session::new(
                    rows,
                    &mut suspects,
                    Arc::new(authority),
                    wire,
                    (safety.clone(), tick),
                );
                let ran = session.run(&mut asked);
                caught(ran).await.unwrap_or_else(|fault| {
                    state.send_modify(|s| s.restarts += 1);
                    Err(fault.into())
                })
            }
        };
        if context.cancel.is_cancelled() {
            return;
        }
        let now = context.clock.monotonic();
        let is_login =
            matches!(&ended, Err(LinkError::Connection { cause, .. }) if cause.is_login());
        if !is_login {
            refusals.over();
        }
        match &ended {
            Err(LinkError::Connection { problem, cause, .. }) if !cause.is_login() => {
                suspects.ended(problem);
            }
            Err(LinkError::Panicked(fault)) => suspects.ended(&fault.to_string()),
            _ => suspects.begins([]),
        }
        let held = state.borrow().connected && now.since(state.borrow().since) > HELD;
        // A link that accepts a connection and nothing else counts as down the whole time.
        if held || state.borrow().acknowledged != acknowledged {
            down_since = now;
            backoff = Backoff::default();
        }
        let error = ended.err().map(|e| e.to_string());
        if held || last_told != error {
            tracing::warn!(upstream = %name, error = error.as_deref(), "link is down");
            last_told.clone_from(&error);
        }
        state.send_modify(|s| {
            s.since = down_since;
            s.connected = false;
            s.last_error = error;
            s.certificates = safety.certificates();
            s.sessions_down.clear();
        });
        let mut pause = jittered(backoff.after(now.since(began)));
        if is_login {
            pause = refusals.refused();
        }
        state.send_modify(|s| s.next_try = is_login.then(|| now + pause));
        let rest = sleep(pause);
        tokio::pin!(rest);
        loop {
            tokio::select! {
                _ = context.cancel.cancelled() => return,
                _ = &mut rest => break,
                Some(asked) = asked.recv() => {
                    if let Asked::Again { from, to } = asked {
                        delivery.again(from, to);
                    } else if asked == Asked::Recount
                        && let Err(error) = recount(&context, &name, &state).await
                    {
                        tracing::warn!(%error, "the refused records cannot be counted");
                    }
                }
            }
        }
        state.send_modify(|s| s.next_try = None);
    }
}

/// Returns a new connection; `None` for a profile that speaks MQTT.
fn wire(
    upstream: &Upstream,
    profile: &dyn Profile,
    clock: &Arc<dyn Clock>,
    safety: &Arc<Safety>,
) -> Option<Box<dyn Wire>> {
    let url = upstream.url.clone()?;
    let (clock, safety) = (clock.clone(), safety.clone());
    match profile.talk() {
        Talk::Mqtt => None,
        Talk::Https(calls) => Some(Box::new(super::https::Https::new(url, calls, safety, clock))),
        Talk::Tcp(sessions) => Some(Box::new(super::tcp::Tcp::new(url, sessions, clock))),
    }
}
