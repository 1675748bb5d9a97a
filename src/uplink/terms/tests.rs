use super::*;

const NOW: Monotonic = Monotonic::from_millis(0);

fn topic(name: &str) -> Part {
    Part::Topic(name.to_owned())
}

fn of(part: Part) -> Vec<Unproven> {
    vec![Unproven { part, essential: false }]
}

#[test]
fn a_topic_over_which_connections_end_falls_away_and_is_tried_again_after_an_hour() {
    let mut terms = Terms::default();
    let two = of(topic("event")).into_iter().chain(of(Part::Retain)).collect();
    assert_eq!(terms.ended(two, Cause::HungUp, NOW), None);
    assert!(terms.is_careful(), "with two suspects the next connection is careful");
    for strike in 1..=STRIKES {
        assert!(terms.takes(&topic("event"), NOW), "{strike}");
        let blamed = terms.ended(of(topic("event")), Cause::HungUp, NOW);
        assert_eq!(blamed, (strike > 1).then(|| topic("event")));
    }
    let before = NOW + (REFUSED_FOR - Duration::from_millis(1));
    assert!(!terms.takes(&topic("event"), before) && terms.takes(&topic("status"), before));
    assert!(terms.takes(&topic("event"), NOW + REFUSED_FOR));
    assert_eq!(terms.without().len(), 1);
    assert!(terms.works(&topic("event")) && terms.without().is_empty());
}

#[test]
fn an_outage_costs_no_topic_and_records_never_fall_away() {
    let mut terms = Terms::default();
    for part in [topic("event"), topic("status"), topic("event"), topic("status")] {
        terms.ended(of(part), Cause::HungUp, NOW);
    }
    // A connection that proved the topic, or that ended for another reason, clears it.
    terms.ended(of(topic("event")), Cause::HungUp, NOW);
    terms.works(&topic("event"));
    terms.ended(of(topic("event")), Cause::HungUp, NOW);
    terms.ended(of(topic("event")), Cause::Other, NOW);
    assert!(!terms.is_careful());
    terms.ended(Vec::new(), Cause::HungUp, NOW);
    assert!(terms.without().is_empty());
    for _ in 0..10 {
        let records = vec![Unproven { part: topic("attendance"), essential: true }];
        assert_eq!(terms.ended(records, Cause::Message, NOW), Some(topic("attendance")));
    }
    assert!(terms.without().is_empty());
}

#[test]
fn a_reason_is_believed_at_once() {
    let mut terms = Terms::default();
    terms.ended(of(topic("event")), Cause::Message, NOW);
    assert!(!terms.takes(&topic("event"), NOW));
    // The reason names retained messages, whichever message it was.
    terms.ended(of(topic("head")), Cause::Retain, NOW);
    assert!(!terms.takes(&Part::Retain, NOW) && terms.takes(&topic("head"), NOW));
    terms.ended(Vec::new(), Cause::Qos, NOW);
    assert!(terms.qos_0);
}

#[test]
fn a_kind_of_message_is_suspect_until_the_broker_has_acknowledged_one() {
    let mut proofs = Proofs::default();
    assert!(proofs.are_complete());
    proofs.handed("status", true, Sort::Accessory, None);
    proofs.handed("attendance", false, Sort::Record, Some((7, WithheldFor::TooLarge)));
    proofs.numbered(1);
    proofs.numbered(2);
    let both = [(Part::Retain, false), (topic("attendance"), true)];
    let both = both.map(|(part, essential)| Unproven { part, essential });
    assert_eq!(proofs.unproven(), both);
    let proof = proofs.taken(2).unwrap();
    assert_eq!((proof.stub, proof.first), (Some((7, WithheldFor::TooLarge)), true));
    assert!(proofs.taken(2).is_none() && !proofs.are_complete());
    assert_eq!(proofs.refused(1), Some(("status".to_owned(), Sort::Accessory)));
    assert!(proofs.are_complete() && proofs.unproven().is_empty());
    // A proven kind is no suspect any longer.
    proofs.handed("attendance", false, Sort::Record, None);
    assert!(proofs.are_complete());
    proofs.subscribing();
    assert_eq!(proofs.unproven(), of(Part::Subscriptions));
}
