//! Signed tree heads, evidence packages and the audit of the whole ledger.

use jiff::{ToSpan, civil::Date};
use serde::{Deserialize, Serialize};

use super::{Failure, Services, refusal::Refusal};
use crate::{
    evidence::{self, MADE_BYTES, OutageShown, Period, collect, outages},
    failpoint,
    ledger::{
        self, AccessWhat, Actor, CborError, Head, LedgerError, SignedHead,
        audit::{Audit, Finding},
        growth,
    },
    memory::Held,
    roster::{RosterError, WorkerId},
    store::{Priority, PublicKey, links_to, meta, replaced_key, set_meta},
};

/// Maximum number of entries by which the tree grows in one transaction.
const GROWN: u64 = 2000;
/// Maximum number of entries that one page of an audit reads.
const AUDITED: u64 = 2000;
/// Maximum number of findings that an audit lists. Further ones are counted.
const FINDINGS: usize = 100;
/// Maximum number of earlier heads in a request for a package.
const EARLIER: usize = 16;
/// Copies of a package in memory while it is signed.
const COPIES: usize = 3;
/// Key in `meta`: the newest head's COSE_Sign1 message.
const HEAD: &str = "head";

/// Key in `meta`: the size of a signed head that the ledger was not true to at a start, 8 bytes.
const BROKEN: &str = "head_broken";

/// A signed head, as `evidence head` shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HeadShown {
    /// The gateway's id.
    pub gateway: String,
    /// The ledger's id, 32 hexadecimal digits.
    pub ledger: String,
    /// Number of entries.
    pub tree_size: u64,
    /// The tree's root, 64 hexadecimal digits.
    pub root: String,
    /// Time of the head, RFC 3339 with the site's offset.
    pub at: String,
    /// Whether the clock was synchronised.
    pub synced: bool,
    /// The public key, 64 hexadecimal digits.
    pub key: String,
    /// The key's SHA-256 hash, 64 hexadecimal digits.
    pub fingerprint: String,
    /// The COSE_Sign1 message, in hexadecimal digits.
    pub head: String,
}

/// The signing key's public half, as `key show` shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyShown {
    /// The public key, 64 hexadecimal digits.
    pub key: String,
    /// The key's SHA-256 hash, 64 hexadecimal digits.
    pub fingerprint: String,
    /// The fingerprints of the keys before it, oldest first. Each has endorsed the next.
    pub earlier: Vec<String>,
    /// The fingerprint of the key that it took the place of without its endorsement.
    pub replaced: Option<String>,
}

/// A request for a worker's package.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EvidenceQuery {
    /// The worker whose entries go into the package.
    pub worker: WorkerId,
    /// The first day.
    pub from: Date,
    /// The last day.
    pub to: Date,
    /// Signed heads that the reader of the package has, in hexadecimal digits.
    #[serde(default)]
    pub earlier: Vec<String>,
}

/// A worker's package, with its room in memory.
pub struct PackageMade {
    /// The file.
    pub bytes: Vec<u8>,
    _held: Held,
}

/// A request for the times in which the gate was down or blind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HealthQuery {
    /// The first day.
    pub from: Date,
    /// The last day.
    pub to: Date,
}

/// The result of an audit.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Audited {
    /// Number of entries.
    pub entries: u64,
    /// Number of entries with a fault.
    pub faults: u64,
    /// The first of them.
    pub findings: Vec<Finding>,
    /// Sizes of signed trees that the ledger does not have any more.
    pub other_roots: Vec<u64>,
}

impl Services {
    /// Lets the tree grow by some entries. Returns a signed head when it has reached the ledger's
    /// end.
    pub async fn grow_tree(&self) -> Result<Option<SignedHead>, LedgerError> {
        let (ledger, stamp, key) = (self.ledger.id, self.clock.stamp(), self.signing_key.clone());
        let gateway = self.origin.gateway.clone();
        let turn = move |tx: &rusqlite::Transaction<'_>| {
            let edge = growth::grow(tx, GROWN)?;
            failpoint::at("tree.grown");
            if edge.size() < ledger::size(tx)? {
                return Ok::<_, LedgerError>(None);
            }
            let signed = Head::new(ledger, (edge.size(), edge.root()), stamp, &gateway);
            let signed = signed.sign(&key)?;
            set_meta(tx, HEAD, &signed.bytes)?;
            failpoint::at("head.written");
            Ok(Some(signed))
        };
        let signed = self.store.write(Priority::Upkeep, turn).await?;
        failpoint::at("head.committed");
        Ok(signed)
    }

    /// Compares the ledger with the newest head that was signed before. Returns the size of a head
    /// to which the ledger is not true: now, or at an earlier start.
    pub async fn check_head(&self) -> Result<Option<u64>, LedgerError> {
        let key = self.signing_key.public();
        let check = move |tx: &rusqlite::Transaction<'_>| {
            let broken = meta(tx, BROKEN)?.and_then(|size| size.try_into().ok());
            if let Some(size) = broken {
                return Ok(Some(u64::from_be_bytes(size)));
            }
            let Some(head) = meta(tx, HEAD)? else { return Ok(None) };
            // A head of a key that nothing ties to this one is passed over.
            let Ok((head, _)) = Head::verify_with(&head, &known_keys(tx, key)?) else {
                return Ok(None);
            };
            if growth::root(tx, head.size).is_ok_and(|root| root == head.root) {
                return Ok(None);
            }
            set_meta(tx, BROKEN, &head.size.to_be_bytes())?;
            Ok(Some(head.size))
        };
        self.store.write(Priority::Upkeep, check).await
    }

    /// Signs a head of the whole ledger.
    pub(super) async fn sign_head(&self) -> Result<SignedHead, Failure> {
        loop {
            if let Some(signed) = self.grow_tree().await? {
                return Ok(signed);
            }
        }
    }

    /// Returns the public half of the signing key, for people.
    pub async fn key(&self) -> Result<KeyShown, Failure> {
        let key = self.signing_key.public();
        let links = self.store.read(move |tx| Ok::<_, LedgerError>(links_to(tx, &key)?)).await?;
        let fingerprint = |key: &PublicKey| hex::encode(key.fingerprint());
        Ok(KeyShown {
            key: key.to_string(),
            fingerprint: fingerprint(&key),
            earlier: links.iter().map(|link| fingerprint(&link.key)).collect(),
            replaced: self.heads.borrow().replaced.as_ref().map(fingerprint),
        })
    }

    /// Signs a head of the whole ledger, for people.
    pub async fn head(&self) -> Result<HeadShown, Failure> {
        let SignedHead { head, bytes, key } = self.sign_head().await?;
        let at = jiff::Timestamp::from_millisecond(head.at_ms).map_err(Failure::internal)?;
        Ok(HeadShown {
            gateway: head.gateway,
            ledger: head.ledger.to_string(),
            tree_size: head.size,
            root: hex::encode(head.root),
            at: self.origin.time(at),
            synced: head.synced,
            key: key.to_string(),
            fingerprint: hex::encode(key.fingerprint()),
            head: hex::encode(bytes),
        })
    }

    /// Makes the package of a worker. The ID number is opened, so the ledger names who asked. It
    /// waits for room in memory.
    pub async fn evidence(&self, query: EvidenceQuery, by: &Actor) -> Result<PackageMade, Failure> {
        let EvidenceQuery { worker, from, to, earlier } = query;
        let span_ms = self.days(from, to)?;
        if earlier.len() > EARLIER {
            return Err(Refusal::TooManyHeads { most: EARLIER }.into());
        }
        let earlier = earlier.iter().map(hex::decode).collect::<Result<Vec<_>, _>>();
        let earlier = earlier.map_err(|_| Refusal::NoHead)?;
        let head = self.sign_head().await?;
        let known = self.known(&worker).await?;
        let (_, identity) = known.ok_or_else(|| RosterError::NoSuchWorker(worker.clone()))?;
        let (origin, of) = (self.origin.clone(), worker.clone());
        let altered = self.altered().await?;
        let period = Period { from, until: to, span_ms };
        let size = {
            let (of, head, earlier) = (worker.clone(), head.clone(), earlier.clone());
            let altered = altered.clone();
            self.store
                .read(move |tx| evidence::size(tx, &of, (period, &altered), &head, &earlier))
                .await?
        };
        if size > MADE_BYTES {
            return Err(Refusal::LargePackage { mib: MADE_BYTES >> 20 }.into());
        }
        let held = self.memory.hold(COPIES * size).await;
        let package = self.store.read(move |tx| {
            collect(tx, &origin, &of, (period, &altered), &head, Some(&identity), &earlier)
        });
        let broken = |e: CborError| Failure::internal(e);
        let package = package.await?.sign(&self.signing_key).map_err(broken)?;
        self.record_reading(AccessWhat::Evidence, by).await;
        Ok(PackageMade { bytes: package.encode().map_err(broken)?, _held: held })
    }

    /// Returns the times in which the gate was down or blind.
    pub async fn health(
        &self,
        HealthQuery { from, to }: HealthQuery,
    ) -> Result<Vec<OutageShown>, Failure> {
        let span_ms = self.days(from, to)?;
        let found = self.store.read(move |tx| outages(tx, span_ms)).await?;
        Ok(found.iter().map(|outage| outage.shown(&self.origin)).collect())
    }

    /// Returns the start and the end of these days, end exclusive; wall time in ms since 1970.
    fn days(&self, from: Date, to: Date) -> Result<(i64, i64), Failure> {
        let timezone = &self.origin.timezone;
        let start = |day: Date| -> Result<i64, jiff::Error> {
            Ok(day.to_zoned(timezone.clone())?.timestamp().as_millisecond())
        };
        let span = to.checked_add(1.day()).and_then(|after| Ok((start(from)?, start(after)?)));
        match span {
            Ok(span) if from <= to => Ok(span),
            _ => Err(Refusal::RangeReversed { from, to }.into()),
        }
    }

    /// Begins an audit of the whole ledger. The newest signed head must still be true.
    pub async fn audit(&self) -> Result<AuditRun<'_>, Failure> {
        let key = self.signing_key.public();
        let head = self.store.read(move |tx| newest_head(tx, key)).await?;
        let wanted = head.into_iter().map(|head| (head.size, head.root)).collect();
        let (audit, done) = (Audit::new(self.ledger.id, wanted), Audited::default());
        Ok(AuditRun { services: self, audit, done, more: true })
    }
}

/// Returns the newest head that binds the ledger of this key.
pub(super) fn newest_head(
    tx: &rusqlite::Transaction<'_>,
    key: PublicKey,
) -> Result<Option<Head>, LedgerError> {
    let keys = known_keys(tx, key)?;
    let head = meta(tx, HEAD)?.and_then(|head| Head::verify_with(&head, &keys).ok());
    Ok(head.map(|(head, _)| head))
}

/// Returns this key, the keys before it, and the key that it took the place of without its
/// endorsement: heads of all of these bind the ledger.
fn known_keys(
    tx: &rusqlite::Transaction<'_>,
    key: PublicKey,
) -> Result<Vec<PublicKey>, LedgerError> {
    let mut keys = vec![key];
    let mut after = Some(key);
    while let Some(key) = after {
        keys.extend(links_to(tx, &key)?.iter().map(|link| link.key));
        after = replaced_key(tx)?.filter(|replaced| !keys.contains(replaced));
        keys.extend(after);
    }
    Ok(keys)
}

/// An audit under way.
pub struct AuditRun<'a> {
    services: &'a Services,
    audit: Audit,
    /// What was found so far.
    pub done: Audited,
    more: bool,
}

impl AuditRun<'_> {
    /// Audits the next page. Returns the number of entries audited; `None` after the last page.
    pub async fn next(&mut self) -> Result<Option<u64>, Failure> {
        if !self.more {
            return Ok(None);
        }
        let mut audit = self.audit.clone();
        let page = self.services.store.read(move |tx| {
            let page = audit.page(tx, AUDITED)?;
            Ok::<_, LedgerError>((audit, page))
        });
        let (audit, (found, more)) = page.await?;
        (self.audit, self.more) = (audit, more);
        let done = &mut self.done;
        done.entries = self.audit.next();
        done.faults += found.len() as u64;
        let room = FINDINGS - done.findings.len().min(FINDINGS);
        done.findings.extend(found.into_iter().take(room));
        done.other_roots.clone_from(&self.audit.other_roots);
        Ok(Some(done.entries))
    }
}
