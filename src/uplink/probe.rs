//! One connection to a broker, to see whether the daemon's would stand.

use std::time::Duration;

use tokio::time::timeout;

use super::{
    client::{Client, ClientError, ClientEvent, Options},
    state::Certificate,
    tls::Safety,
};
use crate::{
    clock::Clock,
    config::{Broker, MqttVersion, Upstream},
};

/// TCP, TLS and CONNACK together.
const PATIENCE_S: u64 = 5;
/// For the broker to close after DISCONNECT.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a broker let in.
#[derive(Debug)]
pub struct Found {
    pub version: MqttVersion,
    /// All that this connection's safety hangs on; none of a plain one.
    pub certificates: Vec<Certificate>,
}

/// Connects as the daemon would, but for the client id, which is its own, so that the daemon is not
/// thrown off; nothing is published. `gateway`: what its client id begins with where none is configured.
pub async fn probe(
    upstream: &Upstream,
    broker: &Broker,
    gateway: &str,
    clock: &dyn Clock,
) -> Result<Found, String> {
    let safety = Safety::new(&upstream.tls());
    let attempt = async |version| {
        let id = format!("{}-check", upstream.client_id(gateway));
        let options = Options::new(upstream, broker, version, &safety, id);
        let mut options = options.map_err(|e| e.to_string())?;
        options.timeout_s = PATIENCE_S;
        Ok::<_, String>(lets_in(options).await)
    };
    let first = upstream.version.unwrap_or(MqttVersion::V5);
    let (version, let_in) = match attempt(first).await? {
        Err(ended) if ended.version_in_doubt && upstream.version.is_none() => {
            (MqttVersion::V4, attempt(MqttVersion::V4).await?)
        }
        let_in => (first, let_in),
    };
    let_in.map_err(|ended| safety.explain(broker, &*ended.error, &clock.stamp()))?;
    let certificates = if broker.tls { safety.certificates() } else { Vec::new() };
    Ok(Found { version, certificates })
}

async fn lets_in(options: Options) -> Result<(), ClientError> {
    let mut client = Client::connect(options);
    while !matches!(client.next().await?, ClientEvent::Connected { .. }) {}
    if client.disconnect().is_ok() {
        let _ = timeout(FAREWELL, async { while client.next().await.is_ok() {} }).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
