//! A test of a broker, for `gatehouse check`: what the daemon does there, step by step.
//!
//! In: an upstream and one of its brokers. Out: what the broker takes. The test has a client id of
//! its own where it can, so that the broker does not disconnect the daemon, and it leaves no session
//! behind. What it publishes has no seq, so a consumer steps over it.

mod trial;

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

pub use self::trial::{Note, trials};
use super::{
    client::{Cause, Client, ClientError, ClientEvent, Limits, Options, refuses_5},
    profiles::Profile,
    state::Certificate,
    terms::Part,
    tls::Safety,
};
use crate::{
    clock::Clock,
    config::{Broker, MqttVersion, Upstream},
};

/// Timeout for TCP, TLS and CONNACK together, in seconds.
const CONNECT_TIMEOUT_S: u64 = 5;
/// Timeout for the broker to close the connection after DISCONNECT.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What to do about a broker that hangs up at CONNECT without a word.
pub(super) const NO_REASON: &str = ". It gave no reason. If it knows only MQTT 3.1.1, set \
                                    version = \"3.1.1\"; else its operator's log has the reason";

/// What is tested.
pub struct Target<'a> {
    pub upstream: &'a Upstream,
    pub broker: &'a Broker,
    /// The gateway's id, or another name where only the daemon knows it.
    pub gateway: &'a str,
    pub profile: Arc<dyn Profile>,
    /// Whether a daemon runs, which may be connected to the broker.
    pub daemon_runs: bool,
    pub clock: &'a dyn Clock,
}

/// What was found at a broker that accepted the connection.
#[derive(Debug)]
pub struct Found {
    pub version: MqttVersion,
    /// The certificates that this connection depends on; none without TLS.
    pub certificates: Vec<Certificate>,
    /// The broker accepts a connection only without a will.
    pub no_will: bool,
    limits: Limits,
    /// The broker accepted only the daemon's own client id.
    own_id: bool,
}

/// A way to connect.
#[derive(Clone, Copy)]
struct Way {
    version: MqttVersion,
    own_id: bool,
    will: bool,
    retain: bool,
    qos_0: bool,
}

impl Target<'_> {
    /// Returns the options of a connection. Under the daemon's own client id the broker keeps the
    /// daemon's session.
    fn options(&self, way: Way, safety: &Safety) -> Result<Options, String> {
        let own = self.upstream.client_id(self.gateway);
        let id = if way.own_id { own } else { format!("{own}-check") };
        let options = Options::new(self.upstream, self.broker, way.version, safety, id);
        let mut options = options.map_err(|e| e.to_string())?;
        options.timeout_s = CONNECT_TIMEOUT_S;
        (options.lasting, options.qos_0) = (way.own_id, way.qos_0);
        if way.will {
            options.will = self.profile.offline().map_err(|e| e.to_string())?;
        }
        if let Some(will) = &mut options.will {
            will.retained &= way.retain;
        }
        Ok(options)
    }
}

/// Connects as the daemon would, and publishes nothing. The will is withdrawn at the end. Where no
/// client id is configured, it begins with the gateway's id.
pub async fn probe(target: &Target<'_>) -> Result<Found, String> {
    let Target { upstream, broker, clock, .. } = target;
    let safety = Safety::new(&upstream.tls());
    let version = upstream.version.unwrap_or(MqttVersion::V5);
    let mut way = Way { version, own_id: false, will: true, retain: true, qos_0: false };
    let limits = loop {
        let ended = match lets_in(target.options(way, &safety)?).await {
            Ok(limits) => break limits,
            Err(ended) => ended,
        };
        let mut refusal = safety.explain(*broker, &*ended.error, &clock.stamp());
        if ended.cause == Cause::HungUp && way.version == MqttVersion::V5 {
            refusal.push_str(NO_REASON);
        }
        let free = upstream.version.is_none() && way.version == MqttVersion::V5;
        match ended.cause {
            Cause::Version if free => way.version = MqttVersion::V4,
            Cause::HungUp if free && refuses_5(broker, &safety).await => {
                way.version = MqttVersion::V4;
            }
            Cause::Retain if way.retain => way.retain = false,
            Cause::Qos if !way.qos_0 => way.qos_0 = true,
            Cause::NotAuthorised | Cause::HungUp if way.will => {
                let options = |will: Option<bool>| {
                    let (will, retain) = (will.is_some(), will.unwrap_or(way.retain));
                    target.options(Way { will, retain, ..way }, &safety).ok()
                };
                let refused = refused_will(ended.cause, options).await;
                if refused.is_none() {
                    let own = Way { own_id: true, ..way };
                    let id_may_be =
                        !way.own_id && !target.daemon_runs && upstream.client_id.is_some();
                    if !id_may_be || lets_in(target.options(own, &safety)?).await.is_err() {
                        return Err(refusal);
                    }
                    way = own;
                    continue;
                }
                match refused {
                    Some(Part::Retain) => way.retain = false,
                    _ => way.will = false,
                }
            }
            _ => return Err(refusal),
        }
    };
    let certificates = if broker.tls { safety.certificates() } else { Vec::new() };
    let limits = Limits {
        no_retain: limits.no_retain || !way.retain,
        qos_0: limits.qos_0 || way.qos_0,
        ..limits
    };
    let Way { version, own_id, will, .. } = way;
    Ok(Found { version, certificates, no_will: !will, limits, own_id })
}

/// Finds out whether a broker that has just refused a connection with a will accepts it without
/// one: then it refuses the will, or that the will is retained. After a hang-up it must refuse the
/// will again, because it may only have been away. `options` makes the options without a will
/// (`None`), or with one that is retained or not.
pub(super) async fn refused_will(
    cause: Cause,
    options: impl Fn(Option<bool>) -> Option<Options>,
) -> Option<Part> {
    lets_in(options(None)?).await.ok()?;
    if cause == Cause::HungUp {
        let again = lets_in(options(Some(true))?).await;
        again.err().filter(|ended| ended.cause == Cause::HungUp)?;
    }
    match lets_in(options(Some(false))?).await {
        Ok(_) => Some(Part::Retain),
        Err(_) => Some(Part::Will),
    }
}

async fn lets_in(options: Options) -> Result<Limits, ClientError> {
    let mut client = Client::connect(options);
    let limits = loop {
        if let ClientEvent::Connected(limits) = client.next().await? {
            break limits;
        }
    };
    leave(client).await;
    Ok(limits)
}

async fn leave(mut client: Client) {
    if client.disconnect().is_ok() {
        let _ = timeout(CLOSE_TIMEOUT, async { while client.next().await.is_ok() {} }).await;
    }
}

#[cfg(test)]
mod tests;
