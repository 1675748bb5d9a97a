//! One question to a broker, byte by byte: does it refuse MQTT 5?
//!
//! A broker that speaks only MQTT 3.1.1 answers a CONNECT of MQTT 5 with a CONNACK of 3.1.1, return
//! code 1, and hangs up (MQTT 3.1.1, 3.1.2.2). Older nats-servers do so. For rumqttc that CONNACK
//! has no end, so the refusal looks like a broker that hangs up without a word. But a hang-up alone
//! refuses no version: it may be an outage, and in 3.1.1 a broker cannot say that it refuses a
//! publish.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use crate::{config::Broker, uplink::tls::Safety};

/// Timeout for TCP, TLS and the answer together.
const TIMEOUT: Duration = Duration::from_secs(5);
/// CONNECT of MQTT 5 with a clean start, an empty client id and no login. A broker looks at the
/// version before it looks at the rest.
const CONNECT: [u8; 15] = [0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 5, 0b10, 0, 60, 0, 0, 0];

/// Returns whether the broker refuses MQTT 5, with the refusal of 3.1.1 or of 5. A broker that says
/// nothing does not refuse it.
pub async fn refuses_5(broker: &Broker, safety: &Safety) -> bool {
    let asked = timeout(TIMEOUT, asked(broker, safety));
    matches!(asked.await, Ok(Ok([0x20, _, _, 1 | 0x84])))
}

async fn asked(broker: &Broker, safety: &Safety) -> io::Result<[u8; 4]> {
    let stream = TcpStream::connect((broker.host.as_str(), broker.port)).await?;
    let Some(config) = safety.config(broker.tls).map_err(io::Error::other)? else {
        return answer(stream).await;
    };
    let name = ServerName::try_from(broker.host.clone()).map_err(io::Error::other)?;
    answer(TlsConnector::from(config).connect(name, stream).await?).await
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<[u8; 4]> {
    stream.write_all(&CONNECT).await?;
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).await?;
    Ok(connack)
}
