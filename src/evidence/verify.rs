//! What a package proves. Nothing but the package is needed; a fingerprint and an earlier head from
//! elsewhere anchor it.
//!
//! A package proves that its entries stood in the ledger when its head was signed, unchanged and in
//! this order, if the key is the gateway's. It does not prove that no entry of the worker is
//! missing, nor that the gateway recorded the truth. A person who controls the box can write a ledger
//! again from the last head that is known elsewhere.

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{
    health::{Journal, OutageShown},
    package::{Opened, Package, hashes},
};
use crate::{
    attendance::{Origin, Record},
    ledger::{
        Body, CborError, ConsentChange, Dispute, Disputed, Entry, Head, HeadError, Kind as _, Lost,
        Stored, commitment, leaf_hash,
        tree::{Hash, includes, is_consistent},
    },
    store::PublicKey,
};

/// Why a package is refused.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    #[error("the file is no evidence package, or it was altered or cut off: {0}")]
    Malformed(#[from] CborError),
    #[error("the package's tree head: {0}")]
    Head(HeadError),
    #[error("an earlier tree head: {0}")]
    Earlier(HeadError),
    #[error(
        "the package is signed with the key of fingerprint {found}, not with the key of the \
         fingerprint that you gave"
    )]
    OtherFingerprint { found: String },
    #[error("the gateway's keys have not endorsed each other in the order of the package")]
    NotEndorsed,
    #[error("the tree head is of gateway {head}, and the package says {package}")]
    OtherGateway { head: String, package: String },
    #[error("entry {place} of the package is no ledger entry: {problem}")]
    NoEntry { place: usize, problem: CborError },
    #[error("entry {index} is of another ledger than the tree head")]
    OtherLedger { index: u64 },
    #[error("entry {index} stands in the package twice, or out of order")]
    Unordered { index: u64 },
    #[error("entry {index} is not in the tree that the gateway signed")]
    NotIncluded { index: u64 },
    #[error("entry {index} is not about worker {worker}")]
    OtherWorker { index: u64, worker: String },
    #[error("entry {index} is about entry {cause}, which the package does not have")]
    NoCause { index: u64, cause: u64 },
    #[error("entry {index} is about entry {cause}, and that entry was altered since")]
    CauseAltered { index: u64, cause: u64 },
    #[error("the ID number is not the number that entry {index} committed to")]
    OtherNumber { index: u64 },
    #[error(
        "the ledger was altered: its tree does not begin with the tree of {size} entries that the \
         gateway signed before"
    )]
    Inconsistent { size: u64 },
    #[error("the package was altered after the gateway made it, or made by someone else")]
    Altered,
    #[error("the earlier tree head is of another ledger")]
    OtherAnchor,
}

/// What ties a package to the world outside the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Anchor {
    /// The reader gave the key's fingerprint, and it is right.
    pub fingerprint: bool,
    /// The reader gave an earlier head, and the tree begins with its tree.
    pub earlier_head: bool,
}

/// What the reader knows from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The fingerprint of the gateway's public key.
    pub fingerprint: Option<[u8; 32]>,
    /// An earlier signed head.
    pub head: Option<Vec<u8>>,
}

/// What a package proves.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The SHA-256 hash of the file, and the gateway's signature in it, in hexadecimal digits. The
    /// package's sheet has both in its QR code.
    pub sha256: String,
    pub signature: String,
    pub worker: String,
    /// The worker's name in the newest entry that has one.
    pub name: Option<String>,
    pub gateway: String,
    pub project: String,
    /// The site's time zone.
    pub timezone: String,
    pub ledger: String,
    pub from: String,
    pub until: String,
    /// The fingerprint of the key that signed the head.
    pub fingerprint: String,
    /// The fingerprints of the keys before it, oldest first. Each has endorsed the next.
    pub earlier_keys: Vec<String>,
    /// Number of entries in the tree.
    pub tree_size: u64,
    pub root: String,
    /// Time of the head, and whether the clock was synchronised.
    pub signed_at: String,
    pub synced: bool,
    pub anchor: Anchor,
    /// The sizes of the trees that this tree begins with.
    pub begins_with: Vec<u64>,
    /// The ID document, where the package opens it.
    pub id_type: Option<String>,
    pub id_number: Option<String>,
    /// Number of entries in the package.
    pub entries: usize,
    /// Where the gateway has lost entries.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<Gap>,
    /// The consents that the worker gave and withdrew after the enrolment, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub consents: Vec<ConsentChange>,
    /// The attendance, as records are listed.
    pub attendance: Vec<Record>,
    /// Times in which the gate was down or blind: no record of these times is no absence.
    pub outages: Vec<OutageShown>,
}

/// Entries that the gateway has lost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gap {
    /// They had this index and those after it.
    pub index: u64,
    /// When the gateway noticed.
    pub at: String,
    /// Their number, at least.
    pub entries: u64,
    /// The first and the last seq that they may have had.
    pub first: u64,
    pub last: u64,
}

/// Verifies a package. `known` is what the reader has from elsewhere.
pub fn verify(bytes: &[u8], known: &Known) -> Result<Report, Refused> {
    let package = Package::decode(bytes)?;
    let head = Head::verify(&package.head, &package.key).map_err(Refused::Head)?;
    if head.gateway != package.gateway {
        let (head, package) = (head.gateway, package.gateway);
        return Err(Refused::OtherGateway { head, package });
    }
    let keys = package.all_keys().ok_or(Refused::NotEndorsed)?;
    let is_known = |known| keys.iter().any(|key| key.fingerprint() == known);
    if !known.fingerprint.is_none_or(is_known) {
        let found = hex::encode(package.key.fingerprint());
        return Err(Refused::OtherFingerprint { found });
    }
    let entries = entries(&package, &head)?;
    related(&package, &entries)?;
    if let Some(opened) = &package.opened {
        is_opened(opened, &entries)?;
    }
    let begins_with = earlier(&package, &keys, &head)?;
    // Last, so that a wrong part is named first.
    if !package.is_signed() {
        return Err(Refused::Altered);
    }
    let earlier_head = match &known.head {
        Some(anchor) => anchored(anchor, &keys, &head, &begins_with)?,
        None => false,
    };
    let mut fingerprints: Vec<_> = keys.iter().map(|key| hex::encode(key.fingerprint())).collect();
    let fingerprint = fingerprints.pop().unwrap_or_default();
    let timezone = TimeZone::get(&package.timezone).unwrap_or(TimeZone::UTC);
    let Package { gateway, project, timezone: zone, worker, from, until, opened, .. } = package;
    let origin = Origin { gateway, project, timezone };
    let (id_type, id_number) = opened.map(|opened| (opened.id_type, opened.number)).unzip();
    let signed_at = Timestamp::from_millisecond(head.at_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    let attendance = attendance(&origin, &entries);
    Ok(Report {
        sha256: hex::encode(Sha256::digest(bytes)),
        signature: hex::encode(package.signature.unwrap_or_default()),
        name: name(&attendance, &entries),
        timezone: zone,
        worker,
        ledger: head.ledger.to_string(),
        from,
        until,
        fingerprint,
        earlier_keys: fingerprints,
        tree_size: head.size,
        root: hex::encode(head.root),
        signed_at: origin.time(signed_at),
        synced: head.synced,
        anchor: Anchor { fingerprint: known.fingerprint.is_some(), earlier_head },
        begins_with: begins_with.into_keys().collect(),
        id_type,
        id_number,
        entries: entries.len(),
        lost: gaps(&origin, &entries),
        consents: consents(&entries),
        attendance,
        outages: outages(&origin, &entries),
        gateway: origin.gateway,
        project: origin.project,
    })
}

type Entries = BTreeMap<u64, Stored>;

/// Reads the entries, and checks that each one is in the tree.
fn entries(package: &Package, head: &Head) -> Result<Entries, Refused> {
    let mut entries = Entries::new();
    for (place, proved) in package.entries.iter().enumerate() {
        let entry =
            Entry::decode(&proved.bytes).map_err(|problem| Refused::NoEntry { place, problem })?;
        let (index, leaf) = (entry.index, leaf_hash(&proved.bytes));
        if entry.ledger != head.ledger {
            return Err(Refused::OtherLedger { index });
        }
        let path = hashes(&proved.path);
        if !path.is_some_and(|path| includes(&leaf, index, head.size, path, &head.root)) {
            return Err(Refused::NotIncluded { index });
        }
        if entries.last_key_value().is_some_and(|(last, _)| *last >= index) {
            return Err(Refused::Unordered { index });
        }
        entries.insert(index, Stored { entry, leaf });
    }
    Ok(entries)
}

/// Checks that each entry is about the worker: it names the worker, or it is about such an entry.
/// Entries of the health journal, and entries `lost`, are about everyone.
fn related(package: &Package, entries: &Entries) -> Result<(), Refused> {
    for (index, stored) in entries {
        let (index, body) = (*index, &stored.entry.body);
        let other = || Refused::OtherWorker { index, worker: package.worker.clone() };
        if let Some(worker) = body.worker()
            && worker.as_str() != package.worker
        {
            return Err(other());
        }
        let about = body.refers_to();
        if about.is_empty() && !is_of_journal(body) && body.word() != Lost::NAME {
            body.worker().ok_or_else(other)?;
        }
        // An entry is about earlier ones, which have been checked already.
        for there in about {
            let cause = there.index;
            match entries.get(&cause).filter(|_| cause < index) {
                None => return Err(Refused::NoCause { index, cause }),
                Some(stored) if stored.leaf != there.hash => {
                    return Err(Refused::CauseAltered { index, cause });
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}

fn is_of_journal(body: &Body) -> bool {
    matches!(body, Body::Gap(_) | Body::Alarm(_) | Body::DiskState(_) | Body::ClockChange(_))
}

fn outages(origin: &Origin, entries: &Entries) -> Vec<OutageShown> {
    let mut journal = Journal::new(None);
    entries.values().for_each(|stored| journal.learn(stored));
    entries.values().for_each(|stored| journal.add(stored));
    journal.finish().iter().map(|outage| outage.shown(origin)).collect()
}

fn is_opened(opened: &Opened, entries: &Entries) -> Result<(), Refused> {
    let Opened { index, id_type, number, salt } = opened;
    let (committed, known_type) = match entries.get(index).map(|stored| &stored.entry.body) {
        Some(Body::Enrolment(enrolment)) => {
            (Some(enrolment.id_commitment), Some(enrolment.id_type.as_str()))
        }
        Some(Body::Amendment(amendment)) => (amendment.id_commitment, None),
        _ => (None, None),
    };
    let right = committed == Some(commitment(salt, id_type, number))
        && known_type.is_none_or(|known| known == id_type);
    right.then_some(()).ok_or(Refused::OtherNumber { index: *index })
}

/// Checks the earlier heads of the package. Returns their sizes and roots.
fn earlier(
    package: &Package,
    keys: &[PublicKey],
    head: &Head,
) -> Result<BTreeMap<u64, Hash>, Refused> {
    let mut begins_with = BTreeMap::new();
    for earlier in &package.earlier {
        let (old, _) = Head::verify_with(&earlier.head, keys).map_err(Refused::Earlier)?;
        let path = hashes(&earlier.path);
        let (old_tree, new_tree) = ((old.size, &old.root), (head.size, &head.root));
        let holds = old.ledger == head.ledger
            && path.is_some_and(|path| is_consistent(old_tree, new_tree, path));
        if !holds {
            return Err(Refused::Inconsistent { size: old.size });
        }
        begins_with.insert(old.size, old.root);
    }
    Ok(begins_with)
}

/// Returns whether the tree begins with the tree of the reader's head. The package has to hold a
/// proof for that size.
fn anchored(
    anchor: &[u8],
    keys: &[PublicKey],
    head: &Head,
    begins_with: &BTreeMap<u64, Hash>,
) -> Result<bool, Refused> {
    let (anchor, _) = Head::verify_with(anchor, keys).map_err(Refused::Earlier)?;
    if anchor.ledger != head.ledger {
        return Err(Refused::OtherAnchor);
    }
    let root = match begins_with.get(&anchor.size) {
        _ if anchor.size == head.size => head.root,
        Some(root) => *root,
        None => return Ok(false),
    };
    let size = anchor.size;
    if root == anchor.root { Ok(true) } else { Err(Refused::Inconsistent { size }) }
}

/// Returns the gaps that the package has.
fn gaps(origin: &Origin, entries: &Entries) -> Vec<Gap> {
    let gaps = entries.values().filter_map(|stored| match &stored.entry.body {
        Body::Lost(Lost { first, last, entries, .. }) => Some(Gap {
            index: stored.entry.index,
            at: origin.time(stored.entry.stamp.timestamp()),
            entries: *entries,
            first: *first,
            last: *last,
        }),
        _ => None,
    });
    gaps.collect()
}

fn consents(entries: &Entries) -> Vec<ConsentChange> {
    let consents = entries.values().filter_map(|stored| match &stored.entry.body {
        Body::ConsentChange(consent) => Some(consent.clone()),
        _ => None,
    });
    consents.collect()
}

/// Returns the records of the entries, in the order of the ledger.
fn attendance(origin: &Origin, entries: &Entries) -> Vec<Record> {
    let mut by_cause = BTreeMap::<u64, Vec<&Stored>>::new();
    for stored in entries.values() {
        if let Some(cause) = stored.entry.body.cause() {
            by_cause.entry(cause).or_default().push(stored);
        }
    }
    let about = |index: u64| by_cause.get(&index).into_iter().flatten();
    // A dispute names the outcome that was recorded first.
    let first = |stored: &Stored| match &stored.entry.body {
        Body::Correction(correction) => correction.corrects.index,
        _ => stored.entry.index,
    };
    let records = entries.values().filter_map(|stored| {
        let cause = stored.entry.body.cause().and_then(|cause| entries.get(&cause)).cloned();
        let record = Record::of(origin, stored, cause)?;
        let disputed = about(first(stored)).rev().find_map(|stored| {
            let Body::Dispute(Dispute { reason, by, .. }) = &stored.entry.body else { return None };
            let mut later = about(stored.entry.index);
            let withdrawn = later.any(|s| matches!(s.entry.body, Body::Withdrawal(_)));
            let (reason, by) = (reason.clone(), by.clone());
            let (seq, stamp) = (stored.entry.seq.unwrap_or_default(), stored.entry.stamp);
            (!withdrawn).then_some(Disputed { seq, reason, by, stamp })
        });
        Some(record.disputed_by(origin, disputed.as_ref()))
    });
    records.collect()
}

fn name(attendance: &[Record], entries: &Entries) -> Option<String> {
    let recorded = attendance.last().map(|record| record.name.clone());
    recorded.or_else(|| {
        entries.values().rev().find_map(|stored| match &stored.entry.body {
            Body::Enrolment(enrolment) => Some(enrolment.person.name.clone()),
            Body::Amendment(amendment) => Some(amendment.person.name.clone()),
            _ => None,
        })
    })
}
