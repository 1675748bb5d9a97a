//! The packets of the two versions of MQTT, as events of one connection.

use rumqttc::{self as v4, v5};

use super::{ClientEvent, Limits, Message, Receipt};

pub(super) fn event_of_v4(event: v4::Event) -> ClientEvent {
    use v4::{Event, Outgoing, Packet, SubscribeReasonCode};
    match event {
        Event::Incoming(Packet::ConnAck(_)) => ClientEvent::Connected(Limits::default()),
        Event::Outgoing(Outgoing::Publish(packet)) => ClientEvent::Numbered(packet),
        Event::Outgoing(Outgoing::PubAck(_)) => ClientEvent::Receipted,
        Event::Incoming(Packet::PubRec(_) | Packet::PubComp(_)) => ClientEvent::Unexpected,
        Event::Incoming(Packet::PubAck(ack)) => {
            ClientEvent::Taken { packet: ack.pkid, heard: true }
        }
        Event::Incoming(Packet::Publish(mut publish)) => {
            let payload = std::mem::take(&mut publish.payload);
            let (topic, retained) = (publish.topic.clone(), publish.retain);
            let receipt = Receipt::V4(publish);
            ClientEvent::Message(Box::new(Message { topic, payload, retained, receipt }))
        }
        Event::Incoming(Packet::SubAck(ack)) => {
            let refused = ack.return_codes.contains(&SubscribeReasonCode::Failure);
            let why = || ClientEvent::NotSubscribed("the broker gives no reason".to_owned());
            if refused { why() } else { ClientEvent::Subscribed }
        }
        _ => ClientEvent::Nothing,
    }
}

pub(super) fn qos_5(qos_0: bool) -> v5::mqttbytes::QoS {
    if qos_0 { v5::mqttbytes::QoS::AtMostOnce } else { v5::mqttbytes::QoS::AtLeastOnce }
}

pub(super) fn event_of_v5(event: v5::Event) -> ClientEvent {
    use v5::{
        Event,
        mqttbytes::v5::{Packet, PubAckReason, SubscribeReasonCode},
    };
    match event {
        Event::Incoming(Packet::ConnAck(ack)) => {
            let limits = ack.properties.as_ref().map(|says| Limits {
                at_once: says.receive_max,
                largest: says.max_packet_size,
                no_retain: says.retain_available == Some(0),
                qos_0: says.max_qos == Some(0),
            });
            ClientEvent::Connected(limits.unwrap_or_default())
        }
        Event::Outgoing(v4::Outgoing::Publish(packet)) => ClientEvent::Numbered(packet),
        Event::Outgoing(v4::Outgoing::PubAck(_)) => ClientEvent::Receipted,
        Event::Incoming(Packet::PubRec(_) | Packet::PubComp(_)) => ClientEvent::Unexpected,
        Event::Incoming(Packet::PubAck(ack)) => match ack.reason {
            PubAckReason::Success => ClientEvent::Taken { packet: ack.pkid, heard: true },
            PubAckReason::NoMatchingSubscribers => {
                ClientEvent::Taken { packet: ack.pkid, heard: false }
            }
            reason => ClientEvent::Refused {
                packet: ack.pkid,
                reason: format!("{reason:?}"),
                topic: matches!(
                    reason,
                    PubAckReason::NotAuthorized | PubAckReason::TopicNameInvalid
                ),
            },
        },
        Event::Incoming(Packet::Publish(mut publish)) => {
            let payload = std::mem::take(&mut publish.payload);
            let topic = String::from_utf8_lossy(&publish.topic).into_owned();
            let (retained, receipt) = (publish.retain, Receipt::V5(publish));
            ClientEvent::Message(Box::new(Message { topic, payload, retained, receipt }))
        }
        Event::Incoming(Packet::SubAck(ack)) => {
            let refused =
                ack.return_codes.iter().find(|c| !matches!(c, SubscribeReasonCode::Success(_)));
            refused.map_or(ClientEvent::Subscribed, |code| {
                ClientEvent::NotSubscribed(format!("{code:?}"))
            })
        }
        _ => ClientEvent::Nothing,
    }
}
