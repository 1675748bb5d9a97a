//! One connection to a broker, to see whether the daemon's would stand.

use std::time::Duration;

use rumqttc::{AsyncClient, EventLoop, MqttOptions, v5};
use tokio::time::timeout;

use super::{state::Certificate, tls::Safety};
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
/// thrown off; nothing is published. `client_id`: what the daemon's begins with where none is configured.
pub async fn probe(
    upstream: &Upstream,
    broker: &Broker,
    client_id: &str,
    clock: &dyn Clock,
) -> Result<Found, String> {
    let password = upstream.password.as_ref().map(|p| p.read()).transpose();
    let password = password.map_err(|e| format!("the password: {e}"))?.unwrap_or_default();
    let login = upstream.username.as_ref().map(|name| (name.as_str(), password.as_str()));
    let id = match &upstream.client_id {
        Some(id) => format!("{id}-check"),
        None => format!("{client_id}-{}-check", upstream.name),
    };
    let safety = Safety::new(&upstream.tls());
    let attempt = Attempt { broker, safety: &safety, id: &id, login };
    let explain =
        |error: &(dyn std::error::Error + 'static)| safety.explain(broker, error, &clock.stamp());
    let version = match upstream.version {
        Some(MqttVersion::V5) => attempt.v5().await?.map_err(|e| explain(&e))?,
        Some(MqttVersion::V4) => attempt.v4().await?.map_err(|e| explain(&e))?,
        None => match attempt.v5().await? {
            Ok(version) => version,
            // Who is not trusted is not in 3.1.1 either. A refusal of 5 in the form of 3.1.1 may look
            // like silence: rumqttc waits for the rest of it.
            Err(error @ v5::ConnectionError::Tls(_)) => return Err(explain(&error)),
            Err(_) => attempt.v4().await?.map_err(|e| explain(&e))?,
        },
    };
    let certificates = if broker.tls { safety.certificates() } else { Vec::new() };
    Ok(Found { version, certificates })
}

struct Attempt<'a> {
    broker: &'a Broker,
    safety: &'a Safety,
    id: &'a str,
    login: Option<(&'a str, &'a str)>,
}

impl Attempt<'_> {
    async fn v4(&self) -> Result<Result<MqttVersion, rumqttc::ConnectionError>, String> {
        let mut options = MqttOptions::new(self.id, &self.broker.host, self.broker.port);
        options.set_clean_session(true);
        options.set_transport(self.safety.transport(self.broker).map_err(|e| e.to_string())?);
        if let Some((name, password)) = self.login {
            options.set_credentials(name, password);
        }
        let (client, mut events): (AsyncClient, EventLoop) = AsyncClient::new(options, 1);
        events.network_options.set_connection_timeout(PATIENCE_S);
        if let Err(error) = events.poll().await {
            return Ok(Err(error));
        }
        let _ = client.try_disconnect();
        let _ = timeout(FAREWELL, async { while events.poll().await.is_ok() {} }).await;
        Ok(Ok(MqttVersion::V4))
    }

    async fn v5(&self) -> Result<Result<MqttVersion, v5::ConnectionError>, String> {
        let mut options = v5::MqttOptions::new(self.id, &self.broker.host, self.broker.port);
        options.set_clean_start(true).set_connection_timeout(PATIENCE_S);
        options.set_transport(self.safety.transport(self.broker).map_err(|e| e.to_string())?);
        if let Some((name, password)) = self.login {
            options.set_credentials(name, password);
        }
        let (client, mut events) = v5::AsyncClient::new(options, 1);
        if let Err(error) = events.poll().await {
            return Ok(Err(error));
        }
        let _ = client.try_disconnect();
        let _ = timeout(FAREWELL, async { while events.poll().await.is_ok() {} }).await;
        Ok(Ok(MqttVersion::V5))
    }
}

#[cfg(test)]
mod tests;
