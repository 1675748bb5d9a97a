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
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::clock::SystemClock;

    fn upstream(version: Option<MqttVersion>) -> Upstream {
        let text = "name = 'up'\nbroker = 'mqtt://h'\nusername = 'u'\npassword = 'hunter2'";
        Upstream { version, ..toml::from_str(text).unwrap() }
    }

    /// A broker that answers each CONNECT in turn so, and what it was asked.
    async fn answered(
        version: Option<MqttVersion>,
        answers: &[&[u8]],
    ) -> (Result<Found, String>, Vec<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers: Vec<Vec<u8>> = answers.iter().map(|answer| answer.to_vec()).collect();
        let broker = tokio::spawn(async move {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut client, _) = listener.accept().await.unwrap();
                let mut connect = vec![0; 1024];
                let length = client.read(&mut connect).await.unwrap();
                connect.truncate(length);
                asked.push(connect);
                client.write_all(&answer).await.unwrap();
                // Who is refused is hung up on; who is let in says DISCONNECT.
                if [LET_IN, LET_IN_V5].contains(&answer.as_slice()) {
                    let _ = client.read(&mut [0; 16]).await;
                }
            }
            asked
        });
        let clock = SystemClock::new().unwrap();
        let broker_at = Broker { host: "127.0.0.1".to_owned(), port, tls: false };
        let found = probe(&upstream(version), &broker_at, "gw", &clock).await;
        let asked = timeout(2 * FAREWELL, broker).await.expect("each answer is asked for");
        (found, asked.unwrap())
    }

    const LET_IN: &[u8] = &[0x20, 2, 0, 0];
    const LET_IN_V5: &[u8] = &[0x20, 3, 0, 0, 0];

    #[tokio::test]
    async fn who_refuses_version_5_is_asked_in_3_1_1_under_an_id_that_is_not_the_daemons() {
        for answers in [
            &[&[0x20, 2, 0, 1][..], LET_IN],
            &[&[0x20, 3, 0, 0x84, 0][..], LET_IN],
            &[&[][..], LET_IN],
        ] {
            let (found, asked) = answered(None, answers).await;
            assert_eq!(found.unwrap().version, MqttVersion::V4, "{answers:?}");
            let [v5, v4] = &asked[..] else { panic!("{asked:?}") };
            // The protocol's level stands after its name.
            assert_eq!((v5[8], v4[8]), (5, 4));
            for connect in &asked {
                assert!(connect.windows(11).any(|w| w == b"gw-up-check"), "{connect:?}");
            }
        }
        assert_eq!(answered(None, &[LET_IN_V5]).await.0.unwrap().version, MqttVersion::V5);
        let only = answered(Some(MqttVersion::V4), &[LET_IN]).await.0.unwrap();
        assert_eq!(only.version, MqttVersion::V4);
    }

    #[tokio::test]
    async fn a_refusal_is_told_in_words_without_the_password() {
        for (version, answer, expected) in [
            (MqttVersion::V4, &[0x20, 2, 0, 4][..], "refuses username, password or client_id"),
            (MqttVersion::V4, &[0x20, 2, 0, 5], "refuses username, password or client_id"),
            (MqttVersion::V4, &[0x20, 2, 0, 2], "refuses client_id"),
            (MqttVersion::V5, &[0x20, 3, 0, 0x86, 0], "refuses username, password or client_id"),
            (MqttVersion::V5, &[0x20, 3, 0, 0x85, 0], "refuses client_id"),
            (MqttVersion::V5, &[0x20, 3, 0, 0x84, 0], "leave out version"),
            (MqttVersion::V5, &[0x20, 3, 0, 0x8A, 0], "refuses the connection (Banned)"),
        ] {
            let problem = answered(Some(version), &[answer]).await.0.unwrap_err();
            assert!(problem.contains(expected), "{problem:?} lacks {expected:?}");
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }
}
