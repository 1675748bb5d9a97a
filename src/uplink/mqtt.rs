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

use self::session::{To, options, session};
use super::{
    authority::Authority,
    client::{Cause, refuses_5},
    delivery::Delivery,
    link::{Asked, Context, LinkError},
    logins::Logins,
    photos::Pace,
    probe::{NO_REASON, refused_will},
    profiles::{Message, Profile},
    route::{ConnectOutcome, Route},
    rows::recount,
    state::UpstreamState,
    suspects::{Suspects, present},
    terms::{Part, SAID_SO, Terms},
    tls::Safety,
};
use crate::{
    config::{MqttVersion, Upstream},
    supervision::{SECRET_EVERY, caught},
};

/// Minimum time after which a connection counts as good even if no row was acknowledged.
const HELD: Duration = Duration::from_secs(30);

/// Number of hang-ups at CONNECT in succession after which the will is tried apart. A broker that
/// restarts may hang up once.
const HANG_UPS: u32 = 2;

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
    if profile.acknowledges_each().is_some() {
        delivery = delivery.of_each();
    }
    let safety = Safety::new(&upstream.tls());
    let mut down_since = context.clock.monotonic();
    let mut terms: Vec<Terms> = upstream.brokers.iter().map(|_| Terms::default()).collect();
    let mut route = Route::new(upstream.brokers.len(), upstream.version);
    let mut logins = Logins::new(upstream.brokers.len());
    let password = || upstream.password.as_ref().and_then(|password| password.read().ok());
    let mut tried = None;
    let mut pace = Pace::default();
    let mut suspects = Suspects::default();
    loop {
        let (at, version) = route.next();
        let Some((broker, terms)) = upstream.brokers.get(at).zip(terms.get_mut(at)) else { return };
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
            let parts = (&mut *terms, &mut pace, &mut suspects);
            let session = session(to, &context, &state, &mut delivery, parts, &mut asked);
            let ran = caught(session).await;
            if let Err(fault) = &ran {
                suspects.ended_over(delivery.on_their_way().map(present), &fault.to_string());
            }
            let mut ended = ran.unwrap_or_else(|fault| {
                state.send_modify(|s| s.restarts += 1);
                Err(fault.into())
            });
            if context.cancel.is_cancelled() {
                return;
            }
            let now = context.clock.monotonic();
            let was_up = state.borrow().connected;
            let held = was_up && now.since(state.borrow().since) > HELD;
            let mut cause = match ended {
                Err(LinkError::Connection { cause, .. }) => cause,
                _ => Cause::Other,
            };
            if !was_up {
                let examined =
                    examine(to, &context, terms, cause, route.guesses(), logins.any_refused());
                cause = context.cancel.run_until_cancelled(examined).await.unwrap_or(cause);
                state.send_modify(|s| s.without = terms.without());
                if let Err(LinkError::Connection { problem, .. }) = &mut ended
                    && (cause, version) == (Cause::HungUp, MqttVersion::V5)
                {
                    problem.push_str(NO_REASON);
                }
            }
            let refused = cause.is_login();
            // Without a user there is no account that could be locked.
            if was_up || (refused && upstream.username.is_some()) {
                logins.went(at, !was_up, now);
            }
            let went = match &ended {
                _ if held || state.borrow().acknowledged != acknowledged => ConnectOutcome::Well,
                _ if was_up => ConnectOutcome::Up,
                _ if cause == Cause::Version => ConnectOutcome::VersionRefused,
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
                Some(asked) = asked.recv() => {
                    if let Asked::Again { from, to } = asked {
                        suspects.forget_between(from, to);
                        delivery.returned(to);
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

/// Finds out why a broker did not accept a connection, and notes what it does not take. Returns the
/// cause as it is known then.
async fn examine(
    to: To<'_>,
    context: &Context,
    terms: &mut Terms,
    cause: Cause,
    guessed: bool,
    login_refused: bool,
) -> Cause {
    let now = context.clock.monotonic();
    let doubts_will = match cause {
        Cause::Retain => {
            terms.refuse(Part::Retain, SAID_SO, now);
            return Cause::Other;
        }
        Cause::Qos => {
            terms.qos_0 = true;
            return Cause::Other;
        }
        Cause::HungUp => {
            if guessed && to.version == MqttVersion::V5 && refuses_5(to.broker, to.safety).await {
                return Cause::Version;
            }
            terms.hung_up += 1;
            terms.hung_up >= HANG_UPS
        }
        // A further try with a wrong password might lock the account.
        Cause::NotAuthorised => !login_refused,
        _ => false,
    };
    if doubts_will && terms.takes(&Part::Will, now) {
        let options = |retained: Option<bool>| {
            let mut options = options(to, context, terms).ok()?;
            let will = options.will.take()?;
            options.will = retained.map(|r| Message { retained: will.retained && r, ..will });
            Some(options)
        };
        if let Some(part) = refused_will(cause, options).await {
            let (upstream, broker) = (&to.upstream.name, to.broker);
            tracing::warn!(%upstream, %broker, "the broker forbids {part}");
            let why = "the broker accepts a connection only without";
            terms.refuse(part, why, context.clock.monotonic());
            return Cause::Other;
        }
    }
    cause
}

/// Returns a random part of the pause, at least half, so that a hundred gateways do not reconnect
/// at the same moment.
pub(super) fn jittered(pause: Duration) -> Duration {
    let mut random = [0_u8; 2];
    // Without a random number the whole pause is used.
    let fraction = match getrandom::fill(&mut random) {
        Ok(()) => f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX),
        Err(_) => 1.0,
    };
    pause.mul_f64(0.5 + fraction / 2.0)
}
