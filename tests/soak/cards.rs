//! The cards of the soak of lanes: what was shown to each reader, and what became of it.
//!
//! Each reading is one claim: no card is shown twice in a row at a reader. The log of the lane names
//! the result of each claim.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::common::{lanes::Lanes, reader::Reader};

/// Workers who have a card and no photo: id, name, ID number, card.
const HOLDERS: [(&str, &str, &str, &str); 3] = [
    ("W011", "赵强", "522201199003072010", "0A1B2C"),
    ("W012", "钱勇", "522201199003072029", "0A1B2D"),
    ("W013", "孙丽", "522201199003072037", "0A1B2E"),
];
/// A card of no worker.
const UNKNOWN: &str = "00DEAD";
/// The number of cards from one unknown card to the next.
const UNKNOWN_EVERY: u64 = 8;
/// Maximum number of unknown cards at a lane, within the budget of denials without a worker.
const UNKNOWN_MOST: u64 = 10;
/// What the daemon logs for [`Account`].
pub const LOGS: &[(&str, &str)] =
    &[("GATEHOUSE_LOG", "gatehouse::gate::lane=debug"), ("GATEHOUSE_LOG_FORMAT", "json")];

/// The cards that were shown at one lane.
#[derive(Default)]
pub struct Cards {
    pub shown: u64,
    unknown: u64,
    /// Those since the daemon's last start.
    pub since_start: u64,
}

impl Cards {
    /// Gives the cards to their workers.
    pub fn give(lanes: &Lanes) {
        for (id, name, id_number, card) in HOLDERS {
            let said = lanes.site.enroll_with(id, name, id_number, &[]);
            assert_eq!(said.code, 0, "{said:?}");
            let said = lanes.site.gatehouse(&["worker", "card", id, "--add", &format!("0x{card}")]);
            assert_eq!(said.code, 0, "{said:?}");
        }
    }

    /// Shows the next card.
    pub fn show(&mut self, reader: &mut Reader) {
        let unknown =
            self.shown % UNKNOWN_EVERY == UNKNOWN_EVERY - 1 && self.unknown < UNKNOWN_MOST;
        let card = HOLDERS[self.shown as usize % HOLDERS.len()].3;
        reader.send(format!("{}\r\n", if unknown { UNKNOWN } else { card }).as_bytes());
        self.shown += 1;
        self.since_start += 1;
        self.unknown += u64::from(unknown);
    }
}

/// What a log says of the cards at one lane.
#[derive(Debug, Default)]
pub struct Account {
    /// The number of claims of each result.
    results: BTreeMap<String, u64>,
    /// The grants to workers with cards.
    grants: u64,
}

impl Account {
    pub fn of(log: &str, lane: &str) -> Account {
        let mut account = Account::default();
        // A daemon that was killed may have left a part of a line.
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        for line in lines.filter(|line| line["lane"] == lane) {
            let message = line["message"].as_str().unwrap_or_default();
            if let Some(result) = message.strip_prefix("claim: ") {
                *account.results.entry(result.to_owned()).or_default() += 1;
            }
            let holder = HOLDERS.iter().any(|(id, ..)| line["worker"] == *id);
            account.grants += u64::from(message == "grant" && holder);
        }
        account
    }

    fn claims(&self) -> u64 {
        self.results.values().sum()
    }

    fn result(&self, result: &str) -> u64 {
        self.results.get(result).copied().unwrap_or_default()
    }
}

/// Where the records of a lane's cards are.
pub struct Recorded<'a> {
    /// The records of the lane that the gateway lists.
    pub listed: &'a [Value],
    /// The platform's messages, each seq once.
    pub received: &'a BTreeMap<u64, Value>,
    /// The lane in `status`.
    pub status: &'a Value,
    /// The log of all lives, and of the last one.
    pub logs: [&'a str; 2],
    /// The number of times that the daemon was killed. Each may take a card that is on its way.
    pub kills: u64,
}

impl Cards {
    /// Compares the cards shown with the claims, the ledger, the platform and the reader's counters.
    pub fn check(&self, lane: &str, recorded: &Recorded) {
        let Recorded { listed, received, status, logs, kills } = recorded;
        let [all, last] = logs.map(|log| Account::of(log, lane));
        let count = |of: &Value, key: &str| of[key].as_u64().unwrap();
        let reader = &status["readers"][0];
        let (read, dropped) = (count(reader, "read"), count(reader, "dropped"));
        eprintln!("{lane}: {} cards, {all:?}, then {last:?}; {reader}", self.shown);
        // Each card shown is a passage or a refusal, and is counted once.
        assert_eq!((read, count(reader, "unreadable")), (self.since_start, 0), "{lane}: {reader}");
        assert_eq!(last.claims() + dropped, read, "{lane}: a card without a result");
        let within = |least: u64, value: u64, most: u64, what: &str| {
            assert!((least..=most).contains(&value), "{lane}: {least} {value} {most}: {what}");
        };
        within(all.claims(), self.shown, all.claims() + dropped + kills, "cards and claims");
        // A card that comes while a passage ends is granted after it.
        let granted = all.result("granted");
        let busy = all.result("nothing: a passage is under way");
        within(granted, all.grants + kills, granted + busy + kills, "claims and grants");

        let of_card = |record: &&Value| record["lane"] == lane && record["means"] == "card";
        let ours: Vec<&Value> = listed.iter().filter(of_card).collect();
        let theirs: Vec<&Value> = received.values().filter(of_card).collect();
        assert_eq!(ours, theirs, "{lane}: the ledger and the platform differ");
        let records = ours.len() as u64;
        within(records, all.grants, records + kills, "grants and records");
        assert!(records > 0, "{lane}: no worker passed by card");

        let denied = all.result("denied: card_unknown");
        let denial = |event: &&Value| event["lane"] == lane && event["reason"] == "card_unknown";
        let denials = received.values().filter(denial).count() as u64;
        let unrecorded = count(status, "denials_unrecorded") + count(status, "denials_dropped");
        within(denials, denied, denials + unrecorded + kills, "denials");
        assert!(denials > 0, "{lane}: no card was denied");
    }
}
