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

/// Probes a broker that gives these answers, one for each CONNECT. Returns the result and the
/// CONNECT packets.
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
            // A refused client is disconnected. An accepted client sends DISCONNECT.
            if [LET_IN, LET_IN_V5].contains(&answer.as_slice()) {
                let _ = client.read(&mut [0; 16]).await;
            }
        }
        asked
    });
    let clock = SystemClock::new().unwrap();
    let broker_at = Broker { host: "127.0.0.1".to_owned(), port, tls: false };
    let upstream = upstream(version);
    let origin = crate::attendance::Origin {
        gateway: "gw".into(),
        project: "p".into(),
        timezone: jiff::tz::TimeZone::UTC,
    };
    let target = Target {
        upstream: &upstream,
        broker: &broker_at,
        gateway: "gw",
        profile: crate::uplink::profiles::of(&upstream, &origin).unwrap(),
        daemon_runs: true,
        clock: &clock,
    };
    let found = probe(&target).await;
    let asked = timeout(2 * CLOSE_TIMEOUT, broker).await.expect("a CONNECT for each answer");
    (found, asked.unwrap())
}

const LET_IN: &[u8] = &[0x20, 2, 0, 0];
const LET_IN_V5: &[u8] = &[0x20, 3, 0, 0, 0];

#[tokio::test]
async fn a_broker_that_refuses_version_5_is_probed_in_3_1_1_under_a_client_id_of_its_own() {
    const OLD: &[u8] = &[0x20, 2, 0, 1];
    for answers in [&[OLD, OLD, LET_IN][..], &[&[0x20, 3, 0, 0x84, 0], LET_IN]] {
        let (found, asked) = answered(None, answers).await;
        assert_eq!(found.unwrap().version, MqttVersion::V4, "{answers:?}");
        let (v5, v4) = (asked.first().unwrap(), asked.last().unwrap());
        // Byte 8 is the protocol level, after the protocol's name. The first CONNECT may be longer.
        let level =
            |connect: &[u8]| connect[connect.windows(4).position(|w| w == b"MQTT").unwrap() + 4];
        assert_eq!((level(v5), level(v4)), (5, 4));
        for connect in [v5, v4] {
            assert!(connect.windows(11).any(|w| w == b"gw-up-check"), "{connect:?}");
        }
    }
    assert_eq!(answered(None, &[LET_IN_V5]).await.0.unwrap().version, MqttVersion::V5);
    let only = answered(Some(MqttVersion::V4), &[LET_IN]).await.0.unwrap();
    assert_eq!(only.version, MqttVersion::V4);
}

#[tokio::test]
async fn a_hang_up_is_no_refusal_of_version_5() {
    let (found, asked) = answered(None, &[&[], &[], &[]]).await;
    let problem = found.unwrap_err();
    assert!(problem.contains("set version = \"3.1.1\""), "{problem}");
    assert_eq!(asked.len(), 3);
}

#[tokio::test]
async fn a_refusal_is_explained_without_the_password() {
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
