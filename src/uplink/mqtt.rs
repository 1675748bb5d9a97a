//! The task of one upstream: makes one connection after another, each a [`session`].
//!
//! In: the upstream's configuration, requests and commits. Out: [`UpstreamState`], and what a
//! session does with [`Delivery`]. Touches: the network, the outbox and the clock. A connection
//! that fails, also by a panic, leaves nothing behind: its unacknowledged rows are read again from
//! the outbox.

mod session;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

use self::session::{To, session};
use super::{
    authority::Authority,
    delivery::Delivery,
    link::{Asked, Context, LinkError},
    logins::Logins,
    profiles::Profile,
    route::{ConnectOutcome, Route},
    state::UpstreamState,
    tls::Safety,
};
use crate::{
    config::Upstream,
    supervision::{SECRET_EVERY, caught},
};

/// Minimum time after which a connection counts as good even if no row was acknowledged.
const HELD: Duration = Duration::from_secs(30);

/// Keeps the upstream connected until the daemon stops.
pub(super) async fn run(
    upstream: Upstream,
    profile: Arc<dyn Profile>,
    context: Context,
    state: watch::Sender<UpstreamState>,
    mut asked: mpsc::Receiver<Asked>,
) {
    let name = upstream.name.clone();
    // The counters and the delivery outlive a panic. The next connection resets the delivery except
    // for the record of sent rows, which is made before a row is handed on. So repeats are marked.
    let mut delivery = Delivery::new(upstream.ack, context.sent_before);
    let safety = Safety::new(&upstream.tls());
    let mut down_since = context.clock.monotonic();
    let mut route = Route::new(upstream.brokers.len(), upstream.version);
    let mut logins = Logins::new(upstream.brokers.len());
    let password = || upstream.password.as_ref().and_then(|password| password.read().ok());
    let mut tried = None;
    loop {
        let (at, version) = route.next();
        let Some(broker) = upstream.brokers.get(at) else { return };
        let pause = if logins.waits(at, context.clock.monotonic()) {
            route.pass_over()
        } else {
            tried = password();
            state.send_modify(|s| s.broker = broker.to_string());
            let acknowledged = state.borrow().acknowledged;
            // The key is read for each connection, as the password is.
            let (authority, problem) = Authority::load(&upstream, &context.origin);
            state.send_modify(|s| s.command_key_error = problem);
            let authority = &Arc::new(authority);
            let (upstream, profile, safety) = (&upstream, &profile, &safety);
            let to = To { upstream, profile, authority, broker, version, safety };
            let session = session(to, &context, &state, &mut delivery, &mut asked);
            let ended = caught(session).await.unwrap_or_else(|fault| {
                state.send_modify(|s| s.restarts += 1);
                Err(fault.into())
            });
            if context.cancel.is_cancelled() {
                return;
            }
            let now = context.clock.monotonic();
            let was_up = state.borrow().connected;
            let held = was_up && now.since(state.borrow().since) > HELD;
            let refused = matches!(ended, Err(LinkError::Connection { login_refused: true, .. }));
            // Without a user there is no account that could be locked.
            if was_up || (refused && upstream.username.is_some()) {
                logins.went(at, !was_up, now);
            }
            let went = match &ended {
                _ if held || state.borrow().acknowledged != acknowledged => ConnectOutcome::Well,
                _ if was_up => ConnectOutcome::Up,
                Err(LinkError::Connection { version_in_doubt: true, .. }) => {
                    ConnectOutcome::VersionInDoubt
                }
                _ => ConnectOutcome::Nowhere,
            };
            let pause = route.went(went);
            let error = ended.err().map(|e| e.to_string());
            // The warning comes once, not at each attempt, because a link may be down for days.
            let known = state.borrow().last_error == error;
            if !pause.is_zero() && (was_up || !known) {
                tracing::warn!(upstream = %name, error = error.as_deref(), "link is down");
            }
            // A link that the broker accepts and ends at once counts as down the whole time.
            if went == ConnectOutcome::Well {
                down_since = now;
            }
            state.send_modify(|s| {
                s.since = down_since;
                s.connected = false;
                s.last_error = error;
                s.certificates = safety.certificates();
            });
            pause
        };
        let now = context.clock.monotonic();
        let waits = logins.rest(now);
        state.send_modify(|s| s.next_try = waits.map(|waits| now + waits));
        let rest = sleep(waits.unwrap_or_else(|| jittered(pause)));
        tokio::pin!(rest);
        let mut look = tokio::time::interval(SECRET_EVERY);
        loop {
            tokio::select! {
                _ = context.cancel.cancelled() => return,
                _ = &mut rest => break,
                _ = look.tick(), if logins.any_refused() => {
                    if password() != tried {
                        logins.changed();
                        break;
                    }
                }
                Some(Asked::Again { from, to }) = asked.recv() => delivery.again(from, to),
            }
        }
        state.send_modify(|s| s.next_try = None);
    }
}

/// Returns a random part of the pause, at least half, so that a hundred gateways do not reconnect
/// at the same moment.
fn jittered(pause: Duration) -> Duration {
    let mut random = [0_u8; 2];
    // Without a random number the whole pause is used.
    let fraction = match getrandom::fill(&mut random) {
        Ok(()) => f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX),
        Err(_) => 1.0,
    };
    pause.mul_f64(0.5 + fraction / 2.0)
}
