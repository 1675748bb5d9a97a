//! The shell around [`Delivery`]: one connection after another, each a [`session`].
//!
//! A connection that fails in any way, by a panic too, is forgotten, and what it held is read again
//! from the outbox.

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
    delivery::Delivery,
    link::{Asked, Context, LinkError},
    profiles::Profile,
    route::{ConnectOutcome, Route},
    state::UpstreamState,
    tls::Safety,
};
use crate::{config::Upstream, supervision::caught};

/// A link that held for so long was worth something, whatever it carried.
const HELD: Duration = Duration::from_secs(30);

pub(super) async fn run(
    upstream: Upstream,
    profile: Arc<dyn Profile>,
    context: Context,
    state: watch::Sender<UpstreamState>,
    mut asked: mpsc::Receiver<Asked>,
) {
    let name = upstream.name.clone();
    // What outlives a panic: counters, and a delivery that the next connection resets but for what
    // was sent, which is noted before a row is handed on. So a repeat is marked as one.
    let mut delivery = Delivery::new(upstream.ack, context.sent_before);
    let safety = Safety::new(&upstream.tls());
    let mut down_since = context.clock.monotonic();
    let mut route = Route::new(upstream.brokers.len(), upstream.version);
    loop {
        let (at, version) = route.next();
        let Some(broker) = upstream.brokers.get(at) else { return };
        state.send_modify(|s| s.broker = broker.to_string());
        let acknowledged = state.borrow().acknowledged;
        let to = To { upstream: &upstream, profile: &profile, broker, version, safety: &safety };
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
        // Said once, not at each attempt: a link may be down for days.
        let known = state.borrow().last_error == error;
        if !pause.is_zero() && (was_up || !known) {
            tracing::warn!(upstream = %name, error = error.as_deref(), "link is down");
        }
        // One that is let in and thrown out again is down all the while.
        if went == ConnectOutcome::Well {
            down_since = now;
        }
        state.send_modify(|s| {
            s.since = down_since;
            s.connected = false;
            s.last_error = error;
            s.certificates = safety.certificates();
        });
        let rest = sleep(jittered(pause));
        tokio::pin!(rest);
        loop {
            tokio::select! {
                _ = context.cancel.cancelled() => return,
                _ = &mut rest => break,
                Some(Asked::Again { from, to }) = asked.recv() => delivery.again(from, to),
            }
        }
    }
}

/// From half to all of it, so that a hundred gateways do not come back in the same moment.
fn jittered(pause: Duration) -> Duration {
    let mut random = [0_u8; 2];
    // Without randomness the whole pause is waited.
    let fraction = match getrandom::fill(&mut random) {
        Ok(()) => f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX),
        Err(_) => 1.0,
    };
    pause.mul_f64(0.5 + fraction / 2.0)
}
