//! A test connection to a broker, for `gatehouse check`.

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

/// Timeout for TCP, TLS and CONNACK together, in seconds.
const CONNECT_TIMEOUT_S: u64 = 5;
/// Timeout for the broker to close the connection after DISCONNECT.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What was found at a broker that accepted the connection.
#[derive(Debug)]
pub struct Found {
    pub version: MqttVersion,
    /// The certificates that this connection depends on; none without TLS.
    pub certificates: Vec<Certificate>,
}

/// Connects as the daemon would, and publishes nothing. The client id is another one, so that the
/// broker does not disconnect the daemon. Where no client id is configured, it begins with
/// `gateway`.
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
        options.timeout_s = CONNECT_TIMEOUT_S;
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
        let _ = timeout(CLOSE_TIMEOUT, async { while client.next().await.is_ok() {} }).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
