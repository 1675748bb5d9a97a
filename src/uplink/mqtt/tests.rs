mod peer;

use tokio::net::TcpListener;

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use crate::{
    attendance::{EventRecord, Record},
    config::{Ack, Broker, MqttVersion, SignerKey},
    ledger::LedgerError,
    store::Priority,
    uplink::{
        Asked, Online, Profile,
        authority::Signer,
        client,
        delivery::{BROKER_TIMEOUT, REFUSED_PAUSE, WINDOW},
        profiles::{Made, Message},
    },
};
use peer::{CONNACK, Link, Packet, Peer};

const ACK: &str = "gatehouse/v1/p/g/ack";

#[tokio::test]
async fn i10_a_panic_costs_a_connection_and_what_was_sent_before_it_is_marked() {
    let mut link = Link::start().await;
    let mut peer = Peer::welcome(&link.broker).await;
    assert!(!peer.record().await.2);
    drop(peer);
    let mut peer = Peer::accept(&link.broker).await;
    link.clock.arm();
    peer.let_in().await;
    link.state_when(|s| s.restarts == 1).await;
    let mut peer = Peer::accept(&link.broker).await;
    let said = link.state.borrow().last_error.clone().unwrap();
    assert!(said.starts_with("a fault in this program: tripped"), "{said}");
    peer.let_in().await;
    assert!(peer.record().await.2);
    assert_eq!(link.state_when(|s| s.connected).await.connects, 2);
    drop(peer);
    link.stop().await;
}

#[tokio::test]
async fn i8_a_message_over_the_maximum_size_costs_the_connection() {
    let mut link = Link::start().await;
    let mut peer = Peer::welcome(&link.broker).await;
    let (packet, ..) = peer.record().await;
    // A message of the maximum size on a topic without a subscription is ignored.
    let most = client::MAX_INCOMING_BYTES as usize;
    peer.publish(1, "t", &vec![b'x'; most - 5]).await;
    // The row is acknowledged on the same connection.
    peer.acknowledge(packet).await;
    assert_eq!(link.state_when(|s| s.acknowledged == 1).await.connects, 1);
    // The announced length is enough to refuse it.
    let announced = most + 1;
    let length = [0, 7, 14, 21].map(|shift| (announced >> shift) as u8 & 0x7F);
    peer.send(&[0x30, length[0] | 0x80, length[1] | 0x80, length[2] | 0x80, length[3]]).await;
    let said = link.state_when(|s| !s.connected).await.last_error.unwrap();
    assert!(said.contains(&format!("payload size limit exceeded: {announced}")), "{said}");
    let peer = Peer::welcome(&link.broker).await;
    assert_eq!(link.state_when(|s| s.connected).await.connects, 2);
    drop(peer);
    link.stop().await;
}

#[tokio::test]
async fn a_broker_that_never_acknowledges_is_disconnected_and_no_row_is_lost() {
    let mut link = Link::with(100, |_| {}).await;
    let mut peer = Peer::welcome(&link.broker).await;
    for seq in 1..=WINDOW as u64 {
        assert_eq!(peer.record().await.1, seq);
    }
    link.clock.advance(BROKER_TIMEOUT);
    let state = link.state_when(|s| s.stalls == 1).await;
    assert!(state.acknowledged == 0);
    let said = link.state_when(|s| !s.connected).await.last_error.unwrap();
    assert!(said.ends_with("it takes messages and does not acknowledge them"), "{said}");
    assert!(peer.is_left().await);
    let mut peer = Peer::welcome(&link.broker).await;
    for seq in 1..=100 {
        let (packet, came, marked) = peer.record().await;
        assert_eq!((came, marked), (seq, seq <= 64));
        peer.acknowledge(packet).await;
    }
    link.state_when(|s| s.acknowledged == 100).await;
    assert!(link.outbox().await.is_empty());
    link.stop().await;
}

#[tokio::test]
async fn acknowledgements_come_out_of_order_or_twice() {
    let mut link = Link::with(64, |_| {}).await;
    let mut peer = Peer::welcome(&link.broker).await;
    let mut packets = Vec::new();
    for seq in 1..=64 {
        let (packet, came, _) = peer.record().await;
        assert_eq!(came, seq);
        packets.push(packet);
    }
    packets.reverse();
    // The last PUBACK is sent twice, and the client ends the connection over it.
    for packet in &packets[..32] {
        peer.acknowledge(*packet).await;
    }
    peer.acknowledge(packets[31]).await;
    let said = link.state_when(|s| !s.connected && s.connects == 1).await.last_error.unwrap();
    assert!(said.contains("unsolicited ack"), "{said}");
    // All acknowledgements before it count.
    let mut peer = Peer::welcome(&link.broker).await;
    for seq in 1..=32 {
        let (packet, came, marked) = peer.record().await;
        assert_eq!((came, marked), (seq, true));
        peer.acknowledge(packet).await;
    }
    link.state_when(|s| s.acknowledged == 64).await;
    assert!(link.outbox().await.is_empty());
    link.stop().await;
}

/// rumqttc's issues 1014 and 1056, and its PR 1058: without an acknowledgement a packet id collides
/// when the ids have gone round. The colliding message is held back, or lost with the connection.
#[tokio::test]
async fn i3_a_packet_id_that_collides_in_the_client_loses_no_row() {
    const ROWS: u64 = 5_000;
    let mut link = Link::with(ROWS, |_| {}).await;
    let mut peer = Peer::welcome(&link.broker).await;
    let (unanswered, first, _) = peer.record().await;
    assert_eq!(first, 1);
    // The ids go round, and the next message with the first row's id waits for its acknowledgement.
    let mut came = 1;
    loop {
        let (packet, seq, _) = peer.record().await;
        came = came.max(seq);
        peer.acknowledge(packet).await;
        if packet == 4096 {
            break;
        }
    }
    assert!((4_000..ROWS).contains(&came) && unanswered < 4096, "{came}");
    link.clock.advance(BROKER_TIMEOUT);
    link.state_when(|s| s.stalls == 1).await;
    assert!(peer.is_left().await);
    let mut peer = Peer::welcome(&link.broker).await;
    assert_eq!(link.outbox().await.first(), Some(&1));
    let mut seen = vec![];
    while link.state.borrow().acknowledged < ROWS {
        if let Ok((packet, seq, _)) = timeout(Duration::from_secs(1), peer.record()).await {
            seen.push(seq);
            peer.acknowledge(packet).await;
        }
    }
    assert_eq!(seen.first(), Some(&1));
    assert_eq!(seen.last(), Some(&ROWS));
    assert!(link.outbox().await.is_empty());
    link.stop().await;
}

#[tokio::test]
async fn a_broker_that_closes_after_each_message_gets_every_message() {
    let mut link = Link::with(5, |_| {}).await;
    for seq in 1..=5 {
        let mut peer = Peer::welcome(&link.broker).await;
        let (packet, came, _) = peer.record().await;
        assert_eq!(came, seq);
        peer.acknowledge(packet).await;
        link.state.wait_for(|s| s.acknowledged == seq).await.unwrap();
    }
    assert_eq!(link.state_when(|s| s.acknowledged == 5).await.connects, 5);
    link.stop().await;
}

#[tokio::test]
async fn a_malformed_packet_costs_a_connection() {
    let mut link = Link::start().await;
    // An invalid packet type, and a length that never ends.
    for (garbage, n) in [(&[0xF0_u8, 0, 1, 2][..], 1), (&[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], 2)] {
        let mut peer = Peer::welcome(&link.broker).await;
        peer.record().await;
        peer.send(garbage).await;
        assert!(peer.is_left().await);
        let state = link.state.wait_for(|s| !s.connected && s.connects == n).await.unwrap();
        assert!(state.last_error.is_some());
    }
    let mut peer = Peer::welcome(&link.broker).await;
    let (packet, ..) = peer.record().await;
    peer.acknowledge(packet).await;
    link.state_when(|s| s.acknowledged == 1).await;
    link.stop().await;
}

#[tokio::test]
async fn the_refusal_of_a_connection_is_explained() {
    let mut link = Link::start().await;
    let refusals =
        [(2, "refuses client_id"), (4, "refuses username, password"), (3, "ServerUnavailable")];
    for (code, word) in refusals {
        let mut peer = Peer::accept(&link.broker).await;
        peer.send(&[0x20, 2, 0, code]).await;
        let waited =
            link.state.wait_for(|s| s.last_error.as_ref().is_some_and(|e| e.contains(word)));
        timeout(peer::SOON, waited).await.expect(word).unwrap();
    }
    assert_eq!(link.state.borrow().connects, 0);
    link.stop().await;
}

#[tokio::test]
async fn a_broker_that_does_not_know_mqtt_5_gets_3_1_1() {
    // An old broker refuses in the form of 3.1.1, which rumqttc cannot read, so it is asked again.
    for (refusal, times) in [(&[0x20_u8, 2, 0, 1][..], 2), (&[0x20, 3, 0, 0x84, 0], 1)] {
        let mut link = Link::with(1, |upstream| upstream.version = None).await;
        for _ in 0..times {
            let mut peer = Peer::accept(&link.broker).await;
            assert_eq!(peer.version(), 5);
            peer.send(refusal).await;
        }
        for attempt in 1..=2 {
            let mut peer = Peer::accept(&link.broker).await;
            assert_eq!(peer.version(), 4, "attempt {attempt}");
            peer.let_in().await;
            peer.record().await;
            assert_eq!(link.state_when(|s| s.connected).await.version, Some(MqttVersion::V4));
            drop(peer);
            link.state_when(|s| !s.connected).await;
        }
        link.stop().await;
    }
}

#[tokio::test]
async fn i3_a_hang_up_at_connect_does_not_lead_to_3_1_1() {
    let mut link = Link::with(1, |upstream| upstream.version = None).await;
    // The connection, and the question whether it refuses the version.
    for _ in 0..2 {
        assert_eq!(Peer::accept(&link.broker).await.version(), 5);
    }
    let mut peer = Peer::accept(&link.broker).await;
    assert_eq!(peer.version(), 5);
    let said = link.state.borrow().last_error.clone().unwrap();
    assert!(said.contains("set version = \"3.1.1\""), "{said}");
    peer.let_in().await;
    assert_eq!(link.state_when(|s| s.connected).await.version, Some(MqttVersion::V5));
    drop(peer);
    link.stop().await;
}

#[tokio::test]
async fn a_row_that_an_mqtt_5_broker_refuses_stays_and_is_offered_again() {
    let mut link = Link::with(3, |upstream| upstream.version = None).await;
    let mut peer = Peer::welcome(&link.broker).await;
    assert_eq!(peer.version(), 5);
    let mut packets = Vec::new();
    for _ in 0..3 {
        packets.push(peer.record().await.0);
    }
    const QUOTA_EXCEEDED: u8 = 0x97;
    const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;
    peer.answer(packets[0], 0).await;
    peer.answer(packets[1], QUOTA_EXCEEDED).await;
    peer.answer(packets[2], NO_MATCHING_SUBSCRIBERS).await;
    let state = link.state_when(|s| s.acknowledged == 2).await;
    assert_eq!((state.refused, state.unheard), (1, 1));
    // `last_trouble` holds the later of the two answers.
    let trouble = state.last_trouble.unwrap();
    assert!(trouble.contains("reports no subscriber"), "{trouble}");
    assert_eq!(link.outbox().await, [2]);
    link.clock.advance(REFUSED_PAUSE);
    let (packet, seq, _) = peer.record().await;
    assert_eq!(seq, 2);
    peer.answer(packet, 0).await;
    assert_eq!(link.state_when(|s| s.acknowledged == 3).await.connects, 1);
    link.stop().await;
}

#[tokio::test]
async fn the_next_broker_of_a_list_is_tried() {
    let gone = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let ports = [gone, silent].map(|listener| {
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        port
    });
    let mut link = Link::with(1, |upstream| {
        let at = |port| Broker { port, ..upstream.brokers[0].clone() };
        let there = upstream.brokers[0].port;
        upstream.brokers = vec![at(ports[0]), at(ports[1]), at(there)];
    })
    .await;
    let mut peer = Peer::welcome(&link.broker).await;
    let (packet, ..) = peer.record().await;
    peer.acknowledge(packet).await;
    let state = link.state_when(|s| s.acknowledged == 1).await;
    let port = link.broker.local_addr().unwrap().port();
    assert_eq!(state.broker, format!("mqtt://127.0.0.1:{port}"));
    link.stop().await;
}

#[tokio::test]
async fn i3_a_row_waits_for_the_platforms_acknowledgement_and_false_ones_are_refused() {
    let mut link = Link::with(10, |upstream| upstream.ack = Ack::Platform).await;
    let ledger = link.ledger.id.to_string();
    let mut peer = Peer::welcome(&link.broker).await;
    for seq in 1..=10 {
        let (packet, came, _) = peer.record().await;
        assert_eq!(came, seq);
        peer.acknowledge(packet).await;
    }
    let said = |ledger: &str, upto: u64| format!(r#"{{"ledger":"{ledger}","upto":{upto}}}"#);
    let lies = [
        (said(&"0".repeat(32), 5), "of another ledger"),
        (said(&ledger, 11), "it acknowledges up to 11, and nothing after 10 was ever sent"),
        (said(&ledger, u64::MAX), "nothing after 10 was ever sent"),
        ("{".to_owned(), "it is not {\"ledger\", \"upto\"}"),
        (said(&ledger, 5).replace("5}", "5, \"more\": 1}"), "unknown name"),
        (format!("{}{}", said(&ledger, 5), " ".repeat(1024)), "more than 1024"),
    ];
    for ((lie, word), n) in lies.iter().zip(1..) {
        peer.publish(n, ACK, lie.as_bytes()).await;
        let refused = link.state.wait_for(|s| s.acks_refused == u64::from(n));
        let state = timeout(peer::SOON, refused).await.expect(word).unwrap().clone();
        assert!(state.last_trouble.as_ref().unwrap().contains(word), "{state:?}");
        assert_eq!(state.acknowledged, 0);
    }
    assert_eq!(link.outbox().await.len(), 10);
    peer.publish(20, ACK, said(&ledger, 7).as_bytes()).await;
    assert_eq!(link.state_when(|s| s.acknowledged == 7).await.acknowledged_upto, Some(7));
    assert_eq!(link.outbox().await, [8, 9, 10]);
    // An older acknowledgement is ignored, and is no error.
    peer.publish(21, ACK, said(&ledger, 3).as_bytes()).await;
    // Rows that the platform does not acknowledge go again over a new connection.
    drop(peer);
    let mut peer = Peer::welcome(&link.broker).await;
    for seq in 8..=10 {
        let (packet, came, marked) = peer.record().await;
        assert_eq!((came, marked), (seq, true));
        peer.acknowledge(packet).await;
    }
    link.record(1).await;
    let (packet, seq, marked) = peer.record().await;
    assert_eq!((seq, marked), (11, false));
    peer.acknowledge(packet).await;
    peer.publish(22, ACK, said(&ledger, 11).as_bytes()).await;
    link.state_when(|s| s.acknowledged == 11).await;
    assert!(link.outbox().await.is_empty());
    assert_eq!(link.state.borrow().acks_refused, lies.len() as u64);
    link.stop().await;
}

#[tokio::test]
async fn i13_with_a_key_only_signed_acknowledgements_count_and_an_older_one_strikes_off_nothing() {
    let signer = Signer::new(&"0b".repeat(32), true).unwrap();
    let other = Signer::new(&"0c".repeat(32), true).unwrap();
    let public = signer.public().unwrap().strip_prefix("ed25519:").map(hex::decode);
    let key = public.unwrap().unwrap().try_into().unwrap();
    let mut link = Link::with(10, |upstream| {
        (upstream.ack, upstream.command_key) = (Ack::Platform, Some(SignerKey::Ed25519(key)));
    })
    .await;
    let ledger = link.ledger.id.to_string();
    let mut peer = Peer::welcome(&link.broker).await;
    for _ in 1..=10 {
        let (packet, ..) = peer.record().await;
        peer.acknowledge(packet).await;
    }
    let body = |gateway: &str, upto: u64, issued: &str| {
        let (topic, project) = ("ack", "p");
        serde_json::json!({
            "topic": topic, "project": project, "gateway": gateway, "ledger": ledger,
            "upto": upto, "issued_at": issued,
        })
        .to_string()
    };
    let plain = format!(r#"{{"ledger":"{ledger}","upto":5}}"#);
    let at = |second: u8| format!("2026-10-01T08:00:{second:02}Z");
    let lies = [
        (plain, "only a signed message counts here"),
        (other.signed(&body("g", 5, &at(1))).to_string(), "sig: is not the signature"),
        (signer.signed(&body("h", 5, &at(1))).to_string(), "gateway: the message is for another"),
    ];
    for ((lie, word), n) in lies.iter().zip(1..) {
        peer.publish(n, ACK, lie.as_bytes()).await;
        let refused = link.state.wait_for(|s| s.acks_refused == u64::from(n));
        let state = timeout(peer::SOON, refused).await.expect(word).unwrap().clone();
        assert!(state.last_trouble.as_ref().unwrap().contains(word), "{state:?}");
    }
    assert_eq!(link.outbox().await.len(), 10);
    let eight = signer.signed(&body("g", 8, &at(2))).to_string();
    peer.publish(10, ACK, eight.as_bytes()).await;
    let state = link.state_when(|s| s.acknowledged == 8).await;
    assert_eq!(state.acks_signed, Some(true));
    let kept = link.store.read(|tx| crate::ledger::signed_ack(tx, "platform")).await.unwrap();
    assert_eq!(kept.unwrap().upto, 8);
    // The platform lost records and asks for them. Its earlier acknowledgement, sent again by
    // another client, does not strike them off.
    let again = |tx: &rusqlite::Transaction<'_>| {
        tx.execute("INSERT INTO outbox SELECT 'platform', seq FROM entry WHERE seq IN (3, 4)", [])?;
        Ok::<_, LedgerError>(())
    };
    link.store.write(Priority::Upkeep, again).await.unwrap();
    link.asked.send(Asked::Again { from: 3, to: 4 }).await.unwrap();
    let two = signer.signed(&body("g", 2, &at(4))).to_string();
    peer.publish(11, ACK, two.as_bytes()).await;
    for seq in [3, 4] {
        let (packet, came, _) = peer.record().await;
        assert_eq!(came, seq);
        peer.acknowledge(packet).await;
    }
    peer.publish(12, ACK, eight.as_bytes()).await;
    let state = link.state_when(|s| s.acks_refused == 4).await;
    assert!(state.last_trouble.unwrap().contains("older than the one before it"));
    assert_eq!(link.outbox().await, [3, 4, 9, 10]);
    peer.publish(13, ACK, signer.signed(&body("g", 10, &at(5))).to_string().as_bytes()).await;
    link.state_when(|s| s.acknowledged == 12).await;
    link.stop().await;
}

#[tokio::test]
async fn commands_are_handed_on_and_answered_and_a_command_beyond_the_queue_is_busy() {
    let mut link = Link::start().await;
    let mut peer = Peer::welcome(&link.broker).await;
    peer.record().await;
    let command = |id: &str| format!(r#"{{"id":"{id}","verb":"status.now","args":{{}}}}"#);
    // The queue of this test holds one command.
    for (id, packet) in [("a", 1), ("b", 2)] {
        peer.publish(packet, "gatehouse/v1/p/g/command", command(id).as_bytes()).await;
    }
    // Returns the next reply, and the receipts that came before it.
    let reply = async |peer: &mut Peer| {
        let mut receipts = Vec::new();
        loop {
            match peer.next().await {
                Packet::Acknowledged(packet) => receipts.push(packet),
                Packet::Publish { topic, json, packet } => {
                    peer.acknowledge(packet).await;
                    if topic == "gatehouse/v1/p/g/reply" {
                        return (json, receipts);
                    }
                }
                _ => {}
            }
        }
    };
    let (busy, receipts) = reply(&mut peer).await;
    assert_eq!((&busy["id"], &busy["error"]["code"]), (&"b".into(), &"busy".into()));
    assert_eq!(receipts, [2]);
    let incoming = link.commands.recv().await.unwrap();
    assert_eq!(incoming.payload, command("a").as_bytes());
    incoming.answer.send(br#"{"id":"a","ok":true}"#.to_vec()).unwrap();
    // The broker gets the receipt when the command is answered, not before.
    let (answer, receipts) = reply(&mut peer).await;
    assert_eq!((&answer["id"], receipts), (&"a".into(), vec![1]));
    // A command whose task fails gets its receipt too, so that it is not sent for ever.
    peer.publish(3, "gatehouse/v1/p/g/command", command("c").as_bytes()).await;
    drop(link.commands.recv().await.unwrap());
    assert_eq!(peer.next().await, Packet::Acknowledged(3));
    let state = link.state.borrow().clone();
    assert_eq!((state.commands, state.commands_refused), (2, 1));
    link.stop().await;
}

#[tokio::test]
async fn rows_asked_for_again_go_again_over_the_same_connection() {
    let mut link = Link::with(8, |_| {}).await;
    let mut peer = Peer::welcome(&link.broker).await;
    for _ in 1..=8 {
        let (packet, ..) = peer.record().await;
        peer.acknowledge(packet).await;
    }
    link.state_when(|s| s.acknowledged == 8).await;
    let again = |tx: &rusqlite::Transaction<'_>| {
        tx.execute("INSERT INTO outbox SELECT 'platform', seq FROM entry WHERE seq IN (3, 4)", [])?;
        Ok::<_, LedgerError>(())
    };
    link.store.write(Priority::Upkeep, again).await.unwrap();
    link.asked.send(Asked::Again { from: 3, to: 4 }).await.unwrap();
    for seq in [3, 4] {
        let (packet, came, marked) = peer.record().await;
        assert_eq!((came, marked), (seq, true));
        peer.acknowledge(packet).await;
    }
    let state = link.state_when(|s| s.acknowledged == 10).await;
    assert_eq!((state.connects, state.repeated), (1, 2));
    link.stop().await;
}

#[tokio::test]
async fn ipv6_brokers_are_reached() {
    let broker = TcpListener::bind(("::1", 0)).await.unwrap();
    let port = broker.local_addr().unwrap().port();
    let link = Link::with(1, |u| u.brokers = vec![Broker { host: "::1".into(), port, tls: false }]);
    let link = link.await;
    let mut peer = Peer::accept(&broker).await;
    peer.send(&CONNACK).await;
    assert_eq!(peer.record().await.1, 1);
    link.stop().await;
}

#[tokio::test]
async fn a_burst_of_messages_does_not_cost_the_connection() {
    let mut link = Link::with(200, |upstream| upstream.ack = Ack::Platform).await;
    let ledger = link.ledger.id.to_string();
    let mut peer = Peer::welcome(&link.broker).await;
    // Commands and acknowledgements all at once, more than the client holds.
    for n in 1..=300 {
        let command = format!(r#"{{"id":"c-{n}","verb":"status.now","args":{{}}}}"#);
        peer.publish(2 * n, "gatehouse/v1/p/g/command", command.as_bytes()).await;
        let nothing = format!(r#"{{"ledger":"{ledger}","upto":0}}"#);
        peer.publish(2 * n + 1, ACK, nothing.as_bytes()).await;
    }
    let (mut receipts, mut records) = (std::collections::BTreeSet::new(), 0);
    // One command is running and has no receipt yet.
    while receipts.len() < 599 || records < 200 {
        match peer.next().await {
            Packet::Acknowledged(packet) => drop(receipts.insert(packet)),
            Packet::Publish { packet, json, .. } => {
                records += u64::from(json["seq"].is_u64());
                peer.acknowledge(packet).await;
            }
            _ => {}
        }
    }
    let state = link.state_when(|s| s.connected).await;
    assert_eq!((state.connects, state.commands, state.commands_refused), (1, 1, 299));
    link.stop().await;
}

#[tokio::test]
async fn a_retained_acknowledgement_is_ignored() {
    let mut link = Link::with(3, |upstream| upstream.ack = Ack::Platform).await;
    let ledger = link.ledger.id.to_string();
    let mut peer = Peer::welcome(&link.broker).await;
    for _ in 0..3 {
        let (packet, ..) = peer.record().await;
        peer.acknowledge(packet).await;
    }
    let said = |upto: u64| format!(r#"{{"ledger":"{ledger}","upto":{upto}}}"#);
    peer.publish_kept(7, ACK, said(3).as_bytes()).await;
    peer.publish(8, ACK, said(2).as_bytes()).await;
    assert_eq!(link.state_when(|s| s.acknowledged == 2).await.acknowledged_upto, Some(2));
    assert_eq!(link.outbox().await, [3]);
    link.stop().await;
}

#[tokio::test]
async fn an_unexpected_packet_costs_the_connection() {
    let mut link = Link::start().await;
    // A second CONNACK, and PUBREC, the first answer of QoS 2.
    for (unexpected, n) in [(&CONNACK[..], 1), (&[0x50, 2, 0, 1], 2)] {
        let mut peer = Peer::welcome(&link.broker).await;
        peer.record().await;
        peer.send(unexpected).await;
        assert!(peer.is_left().await);
        link.state.wait_for(|s| !s.connected && s.connects == n).await.unwrap();
    }
    assert_eq!(link.outbox().await, [1]);
    link.stop().await;
}

/// A made-up profile of a platform that takes only events with an even seq.
struct Even;

impl Profile for Even {
    fn topics(&self) -> &str {
        "even/"
    }

    fn record(&self, _: &Record, _: &crate::uplink::profiles::Attached) -> Made {
        Ok(None)
    }

    fn event(&self, event: &EventRecord) -> Made {
        let payload = serde_json::to_vec(event)?;
        let message = Message { topic: "even/event".to_owned(), payload, retained: false };
        Ok(event.seq.is_multiple_of(2).then_some(message))
    }

    fn status(&self, _: &Online) -> Made {
        Ok(None)
    }

    fn offline(&self) -> Made {
        Ok(None)
    }
}

#[tokio::test]
async fn i3_rows_that_are_not_for_the_platform_leave_unsent_and_are_counted() {
    for ack in [Ack::Broker, Ack::Platform] {
        let mut link = Link::speaking(Some(Arc::new(Even)), 5, |upstream| upstream.ack = ack).await;
        let mut peer = Peer::accept(&link.broker).await;
        peer.let_in().await;
        for seq in [2, 4] {
            let (packet, came, _) = peer.record().await;
            assert_eq!(came, seq);
            peer.acknowledge(packet).await;
        }
        let state = link.state_when(|s| s.left_out == 3).await;
        assert_eq!((state.published, state.connects), (2, 1));
        if ack == Ack::Broker {
            link.state_when(|s| s.acknowledged == 2).await;
            assert!(link.outbox().await.is_empty());
        } else {
            assert_eq!(link.outbox().await, [2, 4]);
        }
        drop(peer);
        link.stop().await;
    }
}
