//! Tries each topic of the daemon at a broker.

use std::time::Duration;

use tokio::time::timeout;

use super::{Found, Target, Way, leave};
use crate::{
    config::{Ack, MqttVersion},
    uplink::{
        client::{Client, ClientEvent},
        profiles,
        tls::Safety,
    },
};

/// Timeout for the broker's answer to a message.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// Timeout for a message to come back to its sender.
const BACK_WITHIN: Duration = Duration::from_secs(3);

/// A finding.
#[derive(Debug)]
pub struct Note {
    /// Whether records are affected. Otherwise an accessory falls away.
    pub fault: bool,
    pub text: String,
}

/// What became of a message.
enum Answer {
    Taken { heard: bool, back: Option<bool> },
    Refused(String),
    Ended(String),
    Silent,
}

/// Publishes on the topics of the daemon, each over a connection of its own. Returns the topics that
/// the broker takes, and what it does not take. A running daemon publishes its own status.
pub async fn trials(target: &Target<'_>, found: &Found) -> (Vec<String>, Vec<Note>) {
    let (mut taken, mut notes) = (Vec::new(), limits(target, found));
    let records = target.profile.stubs_on();
    let offline = if target.daemon_runs { Ok(None) } else { target.profile.offline() };
    let trials = [target.profile.trial(true), target.profile.trial(false), offline];
    if found.limits.qos_0 && target.upstream.ack == Ack::Broker {
        return (taken, notes);
    }
    for mut message in trials.into_iter().flatten().flatten() {
        let (topic, retained) = (message.topic.clone(), message.retained);
        message.retained &= !found.limits.no_retain;
        let fault = records.as_ref().is_none_or(|records| *records == topic);
        let mut answer = answered(target, found, message.clone()).await;
        // The broker may forbid only that it is retained.
        if matches!(answer, Answer::Ended(_)) && message.retained {
            message.retained = false;
            answer = answered(target, found, message).await;
            if retained && matches!(answer, Answer::Taken { .. }) {
                let text = format!(
                    "{topic}: the broker hangs up after a retained message. The status goes out, and \
                     is not kept for later subscribers"
                );
                notes.push(Note { fault: false, text });
            }
        }
        let remedy = if fault {
            "Records wait: ask the broker's operator to let this user publish there"
        } else {
            "Records go out all the same. Ask the broker's operator to let this user publish there"
        };
        let problem = match answer {
            Answer::Taken { back: Some(false), .. } if target.upstream.ack == Ack::Broker => Some(
                "the broker acknowledged a message and did not pass it on to a subscriber. In MQTT \
                 3.1.1 it cannot say that it forbids a topic, and records would be struck off that \
                 no one has. Ask its operator to let this user publish there, and read there for \
                 this test; or set ack = \"platform\""
                    .to_owned(),
            ),
            Answer::Taken { heard, .. } => {
                taken.push(if heard { topic.clone() } else { format!("{topic} (no subscriber)") });
                None
            }
            Answer::Refused(reason) => Some(format!("the broker refuses it ({reason}). {remedy}")),
            Answer::Ended(why) => {
                Some(format!("the broker ends the connection after a message ({why}). {remedy}"))
            }
            Answer::Silent => Some(format!("the broker does not acknowledge it. {remedy}")),
        };
        notes.extend(problem.map(|p| Note { fault, text: format!("{topic}: {p}") }));
    }
    (taken, notes)
}

/// Says what follows from the CONNACK.
fn limits(target: &Target<'_>, found: &Found) -> Vec<Note> {
    let note = |fault, text: &str| Note { fault, text: text.to_owned() };
    let mut notes = Vec::new();
    if found.no_will {
        notes.push(note(
            false,
            "the broker accepts a connection only without a will. Records go out; the platform does \
             not see when the gateway loses power. Ask its operator to allow wills",
        ));
    }
    if found.limits.no_retain {
        notes.push(note(
            false,
            "the broker keeps no retained messages. Records go out; a platform that subscribes later \
             gets the status within a minute",
        ));
    }
    match (found.limits.qos_0, target.upstream.ack) {
        (false, _) => {}
        (true, Ack::Broker) => notes.push(note(
            true,
            "the broker takes messages of QoS 0 only (Maximum QoS 0), and so acknowledges no record. \
             Nothing is sent: ask its operator for QoS 1, or set ack = \"platform\" if the platform \
             acknowledges records itself",
        )),
        (true, Ack::Platform) => notes.push(note(
            false,
            "the broker takes messages of QoS 0 only. Records that it loses are sent again when the \
             platform does not acknowledge them",
        )),
    }
    if let Some(bytes) = found.limits.largest.filter(|bytes| *bytes < SMALL_BYTES) {
        let text = format!(
            "the broker takes messages of up to {bytes} bytes. A larger record stands aside, and the \
             platform gets a stub in its place: ask its operator for {SMALL_BYTES} bytes or more"
        );
        notes.push(Note { fault: false, text });
    }
    notes
}

/// Maximum packet size of a broker, in bytes, below which it may not take each record. A record has
/// about 1 KiB; names and reasons may make it longer.
const SMALL_BYTES: u32 = 16 * 1024;

/// Publishes one message over a connection of its own. In MQTT 3.1.1 it subscribes to the topic
/// before, and waits for the message to come back.
async fn answered(target: &Target<'_>, found: &Found, message: profiles::Message) -> Answer {
    let safety = Safety::new(&target.upstream.tls());
    let (version, own_id, retain) = (found.version, found.own_id, !found.limits.no_retain);
    let qos_0 = found.limits.qos_0;
    let options = target.options(Way { version, own_id, will: false, retain, qos_0 }, &safety);
    let mut client = match options {
        Ok(options) => Client::connect(options),
        Err(problem) => return Answer::Ended(problem),
    };
    // Under the daemon's client id a subscription would stay in the daemon's session.
    let returns = version == MqttVersion::V4 && !own_id;
    let asked = exchange(&mut client, message, qos_0, returns);
    let answer = timeout(ANSWERED_WITHIN + BACK_WITHIN, asked).await.unwrap_or(Answer::Silent);
    if let Answer::Taken { .. } | Answer::Refused(_) = answer {
        leave(client).await;
    }
    answer
}

async fn exchange(
    client: &mut Client,
    message: profiles::Message,
    qos_0: bool,
    returns: bool,
) -> Answer {
    let topic = message.topic.clone();
    let mut message = Some(message);
    let (mut subscribed, mut back) = (false, false);
    loop {
        let event = match client.next().await {
            Ok(event) => event,
            Err(ended) => return Answer::Ended(ended.error.to_string()),
        };
        let ready = match event {
            ClientEvent::Connected(_) if returns => {
                if client.subscribe(topic.clone()).is_err() {
                    return Answer::Silent;
                }
                false
            }
            ClientEvent::Connected(_) | ClientEvent::NotSubscribed(_) => true,
            ClientEvent::Subscribed => {
                subscribed = true;
                true
            }
            ClientEvent::Message(came) if came.topic == topic && !came.retained => {
                back = true;
                let _ = client.acknowledge(&came);
                false
            }
            ClientEvent::Numbered(0) => return Answer::Taken { heard: true, back: None },
            ClientEvent::Taken { heard, .. } => {
                if !subscribed {
                    return Answer::Taken { heard, back: None };
                }
                let back = back || comes_back(client, &topic).await;
                return Answer::Taken { heard, back: Some(back) };
            }
            ClientEvent::Refused { reason, .. } => return Answer::Refused(reason),
            _ => false,
        };
        if ready
            && let Some(message) = message.take()
            && client.publish(message, qos_0).is_err()
        {
            return Answer::Silent;
        }
    }
}

/// Waits until a message on this topic comes.
async fn comes_back(client: &mut Client, topic: &str) -> bool {
    let comes = async {
        while let Ok(event) = client.next().await {
            if matches!(&event, ClientEvent::Message(came) if came.topic == topic && !came.retained)
            {
                return true;
            }
        }
        false
    };
    timeout(BACK_WITHIN, comes).await.unwrap_or(false)
}
