//! An export of records: its first and its last line, and what makes it worth believing.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use super::Record;

/// The `format` in an export's first line.
pub(super) const FORMAT: &str = "gatehouse attendance";
pub(super) const VERSION: u32 = 2;
/// The version without proofs.
pub(super) const UNPROVEN: u32 = 1;
/// The range of records that was read from a ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    pub project: String,
    pub gateway: String,
    pub ledger: String,
    pub count: u64,
    /// The lowest and the highest seq of these records.
    pub first_seq: Option<u64>,
    pub last_seq: Option<u64>,
    /// Time of the reading.
    pub at: Timestamp,
    /// Time of the ledger's first entry, if the entry can be read.
    #[serde(default)]
    pub begins: Option<Timestamp>,
    /// Folder of the damaged database that this ledger replaced, if there is one.
    #[serde(default)]
    pub set_aside: Option<String>,
    /// Number of entries that cannot be read or were altered. What they say is left out.
    #[serde(default)]
    pub unread: u64,
    /// The indices of the first of them.
    #[serde(default)]
    pub unread_entries: Vec<u64>,
    /// Records of this gateway's earlier ledgers, whose databases were set aside.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub earlier: BTreeMap<String, Span>,
    /// Databases that were set aside and cannot be read, wholly or in part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub illegible: Vec<String>,
}

/// The records of an earlier ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub count: u64,
    /// The lowest and the highest seq.
    pub first_seq: u64,
    pub last_seq: u64,
}

impl Extent {
    pub fn saw(&mut self, record: &Record) {
        let seq = record.seq;
        if record.ledger != self.ledger {
            let whole = Span { count: 0, first_seq: seq, last_seq: seq };
            let span = self.earlier.entry(record.ledger.clone()).or_insert(whole);
            let (first, last) = (span.first_seq.min(seq), span.last_seq.max(seq));
            *span = Span { count: span.count + 1, first_seq: first, last_seq: last };
            return;
        }
        self.count += 1;
        self.first_seq = Some(self.first_seq.map_or(seq, |first| first.min(seq)));
        self.last_seq = Some(self.last_seq.map_or(seq, |last| last.max(seq)));
    }

    pub fn ending(&self) -> Ending {
        let Extent { first_seq, last_seq, unread, .. } = *self;
        let count = self.count + self.earlier.values().map(|span| span.count).sum::<u64>();
        let unread_entries = self.unread_entries.clone();
        Ending { count, first_seq, last_seq, unread, unread_entries }
    }
}

/// An export's first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heading {
    pub format: String,
    pub version: u32,
    pub project: String,
    pub gateway: String,
    pub ledger: String,
    /// The first and the last day, from midnight to midnight.
    pub from: Date,
    pub to: Date,
    pub exported_at: String,
    pub timezone: Option<String>,
}

impl Heading {
    pub fn new(
        extent: &Extent,
        (from, to): (Date, Date),
        exported_at: String,
        timezone: Option<&str>,
    ) -> Heading {
        Heading {
            format: FORMAT.to_owned(),
            version: VERSION,
            project: extent.project.clone(),
            gateway: extent.gateway.clone(),
            ledger: extent.ledger.clone(),
            from,
            to,
            exported_at,
            timezone: timezone.map(str::to_owned),
        }
    }
}

/// An export's last line. It has other fields than a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ending {
    pub count: u64,
    pub first_seq: Option<u64>,
    pub last_seq: Option<u64>,
    /// Number of entries that could not be read or were altered.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unread: u64,
    /// The indices of the first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread_entries: Vec<u64>,
}

pub fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a source's head says. It stands on the sheet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadOf {
    /// Number of entries.
    pub tree_size: u64,
    /// The tree's root, 64 hexadecimal digits.
    pub root: String,
    /// Time of the head, RFC 3339 with the site's offset.
    pub signed_at: String,
    /// The SHA-256 hash of the public key, 64 hexadecimal digits.
    pub fingerprint: String,
}

/// Why the records of a source are not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The file has no proofs: it is of an earlier version, or made by hand.
    NoProof,
    /// The gateway could not sign its ledger.
    Unsigned,
    /// The user did not name the key's fingerprint.
    UnknownKey { fingerprint: String },
    /// Some records are of a ledger that was set aside, and stand in no signed tree. This is no reason
    /// to refuse the others.
    SetAside,
    /// The proofs do not hold: the file was altered, or the ledger was.
    Fails,
}

/// The keys that a user knows, and whether unverified records are taken.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    pub fingerprints: Vec<[u8; 32]>,
    pub unverified: bool,
}

impl Doubt {
    /// Returns why the export of this gateway is refused, and what to do.
    pub fn refusal(&self, gateway: &str) -> String {
        let or = "; or give --unverified, and the sheet says that its records are not verified";
        match self {
            Doubt::NoProof => format!(
                "the file has no proofs: export it again with this version of Gatehouse{or}"
            ),
            Doubt::Unsigned => format!(
                "gateway {gateway} could not sign its ledger, and its `gatehouse status` says why: \
                 export again when that has ended{or}"
            ),
            Doubt::UnknownKey { fingerprint } => format!(
                "the file is signed with a key that you did not name. Compare its fingerprint with \
                 the one that `gatehouse evidence head` shows on gateway {gateway}, then give \
                 --fingerprint {fingerprint}{or}"
            ),
            Doubt::SetAside => format!("records of gateway {gateway} stand in no signed tree{or}"),
            Doubt::Fails => format!(
                "the proofs do not hold: the file was altered, or made by someone else. Export it \
                 again on gateway {gateway}{or}"
            ),
        }
    }
}
