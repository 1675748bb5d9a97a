//! Compares store, ledger and delivery together with a plain model, under all kinds of failures.
//!
//! A committed entry is never missing and never changed (I2). Each grant has one outcome. Each
//! upstream gets every seq, the backlog in order and fresh rows in order, with repeats marked. That
//! holds whatever fails at this upstream or at the other (I3).

mod gateway;
mod model;

use proptest::prelude::*;

use crate::ledger::Outcome;
use gateway::{Gateway, Tail};

#[derive(Clone, Debug)]
enum Step {
    Grant,
    Close(usize, Outcome),
    Deny,
    GrantFails,
    DiskIsFull,
    Checkpoint,
    Fetch(usize),
    Send { link: usize, messages: usize, arrives: bool },
    Acknowledge { link: usize, which: usize, messages: usize },
    StrikeOff { link: usize, fails: bool },
    Reconnect(usize),
    Restart([bool; 2]),
    PowerCut([bool; 2], Tail),
}

fn step() -> impl Strategy<Value = Step> {
    let link = 0..2_usize;
    let outcome =
        prop_oneof![Just(Outcome::Passed), Just(Outcome::NotPassed), Just(Outcome::Unconfirmed)];
    // In most cases both upstreams are configured.
    let configured = [prop::bool::weighted(0.8), prop::bool::weighted(0.8)];
    let tail = prop_oneof![
        Just(Tail::None),
        (0..=10_usize, any::<bool>())
            .prop_map(|(tenths, last_ones)| Tail::Torn { tenths, last_ones }),
        any::<u8>().prop_map(Tail::Garbage),
    ];
    prop_oneof![
        8 => Just(Step::Grant),
        8 => (any::<usize>(), outcome).prop_map(|(which, outcome)| Step::Close(which, outcome)),
        6 => Just(Step::Deny),
        1 => Just(Step::GrantFails),
        1 => Just(Step::DiskIsFull),
        1 => Just(Step::Checkpoint),
        12 => link.clone().prop_map(Step::Fetch),
        12 => (link.clone(), 1..6_usize, prop::bool::weighted(0.95))
            .prop_map(|(link, messages, arrives)| Step::Send { link, messages, arrives }),
        10 => (link.clone(), any::<usize>(), 1..6_usize)
            .prop_map(|(link, which, messages)| Step::Acknowledge { link, which, messages }),
        8 => (link.clone(), prop::bool::weighted(0.1))
            .prop_map(|(link, fails)| Step::StrikeOff { link, fails }),
        2 => link.prop_map(Step::Reconnect),
        1 => configured.prop_map(Step::Restart),
        2 => (configured, tail).prop_map(|(configured, tail)| Step::PowerCut(configured, tail)),
    ]
}

async fn walk(configured: [bool; 2], steps: Vec<Step>) {
    let mut gateway = Gateway::new(configured).await;
    for step in steps {
        match step {
            Step::Grant => gateway.grant().await,
            Step::Close(which, outcome) => gateway.close(which, outcome).await,
            Step::Deny => gateway.deny().await,
            Step::GrantFails => gateway.grant_fails().await,
            Step::DiskIsFull => gateway.disk_is_full().await,
            Step::Checkpoint => gateway.checkpoint().await,
            Step::Fetch(link) => gateway.fetch(link).await,
            Step::Send { link, messages, arrives } => {
                (1..=messages).for_each(|n| gateway.send(link, arrives || n < messages));
            }
            Step::Acknowledge { link, which, messages } => {
                (0..messages).for_each(|_| gateway.acknowledge(link, which));
            }
            Step::StrikeOff { link, fails } => gateway.strike_off(link, fails).await,
            Step::Reconnect(link) => gateway.reconnect(link),
            Step::Restart(configured) => gateway = gateway.restart(configured).await,
            Step::PowerCut(configured, tail) => {
                gateway = gateway.power_cut(configured, tail).await;
            }
        }
        gateway.check().await;
    }
    // In the end both links stay up, and no grant is open.
    gateway = gateway.restart([true, true]).await;
    assert!(gateway.model.open.is_empty());
    for link in 0..2 {
        while !gateway.model.links[link].outbox.is_empty() {
            let before = gateway.model.links[link].outbox.len();
            gateway.fetch(link).await;
            (0..64).for_each(|_| gateway.send(link, true));
            (0..64).for_each(|_| gateway.acknowledge(link, 0));
            gateway.strike_off(link, false).await;
            assert!(gateway.model.links[link].outbox.len() < before, "delivery makes no progress");
        }
    }
    gateway.check().await;
    for link in &gateway.model.links {
        assert!(link.received.iter().copied().eq(1..=gateway.model.last_seq()));
    }
}

proptest! {
    // Few and long cases with limited shrinking, because a case opens real databases.
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_time: 20_000, ..ProptestConfig::default() })]
    #[test]
    fn i2_i3_no_entry_and_no_row_is_lost_under_any_failure(
        configured in [any::<bool>(), any::<bool>()],
        steps in proptest::collection::vec(step(), 50..150),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(walk(configured, steps));
    }
}
