//! The records that a platform refused: lists them, offers them again.

use std::{collections::BTreeMap, time::Duration};

use clap::Args;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Code, Failure, Services, refusal::Refusal};
use crate::{
    attendance::Record,
    ledger::{self, Actor, LedgerError, Stored, WithheldFor},
    store::Priority,
    uplink::{Asked, Link},
};

/// Timeout for a link's task to take in that rows were put back into its outbox.
const LINK_TIMEOUT: Duration = Duration::from_secs(5);

/// One upstream, by its name in the configuration.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct UpstreamQuery {
    /// The upstream's name in the configuration
    pub name: String,
}

/// A record that stands aside, because the platform refused it or the gateway lacks something.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RefusedRecord {
    /// Its seq.
    pub seq: u64,
    /// The folder of the database that was set aside, if it has the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<String>,
    /// The worker's id and name, the direction and the time; `None` for an entry that is no
    /// attendance, or is illegible.
    #[serde(flatten)]
    pub passage: Option<RefusedPassage>,
    /// The platform's words, or what the gateway lacks.
    pub reason: String,
    /// Whether the gateway lacks something; the platform has not seen the record.
    pub here: bool,
    /// When it was refused.
    pub refused_at: String,
    /// A person has seen it, and nothing more is to be done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dismissed: bool,
}

/// The passage of such a record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RefusedPassage {
    /// The worker's id.
    pub worker: String,
    /// The worker's name.
    #[serde(rename = "name")]
    pub worker_name: String,
    /// The team.
    pub team: String,
    /// `entry` or `exit`.
    pub direction: String,
    /// Time of the passage.
    pub at: String,
}

/// Refused records that need nothing more.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct DismissQuery {
    /// The upstream's name in the configuration
    pub name: String,
    /// The records, by their SEQ in `gatehouse upstream refused`
    #[arg(required = true, value_name = "SEQ")]
    pub seqs: Vec<u64>,
}

/// The records that were dismissed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DismissedRecords {
    /// Number of records.
    pub records: u64,
}

/// The records that are offered again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Retried {
    /// Number of records.
    pub records: u64,
}

impl Services {
    fn upstream(&self, name: &str) -> Result<&Link, Failure> {
        let known = |link: &&Link| link.state.borrow().name == name;
        self.upstreams.iter().find(known).ok_or_else(|| {
            let upstreams = self.upstreams.iter().map(|link| link.state.borrow().name.clone());
            let upstreams = upstreams.collect();
            Refusal::NoSuchUpstream { name: name.to_owned(), upstreams, argument: None }.into()
        })
    }

    /// Returns refused records after a seq, oldest first, at most `limit`.
    pub async fn refused_records(
        &self,
        query: &UpstreamQuery,
        after: u64,
        limit: usize,
    ) -> Result<Vec<RefusedRecord>, Failure> {
        self.upstream(&query.name)?;
        let (name, origin) = (query.name.clone(), self.origin.clone());
        let read = self.store.read(move |tx| {
            let refused = ledger::refused(tx, &name, after, limit)?;
            let last = refused.last().map_or(after, |refusal| refusal.seq);
            let records = ledger::aside(
                tx,
                &name,
                WithheldFor::Refused,
                (after, last, limit),
                |stored, cause| Record::of(&origin, &stored, cause),
            )?;
            Ok::<_, LedgerError>((refused, records, ledger::dismissed(tx, &name)?))
        });
        let (refused, records, dismissed) = read.await?;
        let mut records: BTreeMap<u64, Record> =
            records.into_iter().flatten().map(|record| (record.seq, record)).collect();
        let shown = refused.into_iter().map(|refusal| {
            let (record, seq) = (records.remove(&refusal.seq), refusal.seq);
            let shown = self.refused_record(refusal, record, None);
            RefusedRecord { dismissed: dismissed.contains(&seq), ..shown }
        });
        Ok(shown.collect())
    }

    /// Returns refused records of databases that were set aside: after a folder and a seq, oldest
    /// first, at most `limit`.
    pub async fn refused_set_aside(
        &self,
        query: &UpstreamQuery,
        (folder, seq): (String, u64),
        limit: usize,
    ) -> Result<Vec<RefusedRecord>, Failure> {
        self.upstream(&query.name)?;
        let (name, origin) = (query.name.clone(), self.origin.clone());
        let dir = self.storage_dir.clone();
        let read = self.store.read(move |tx| {
            let refused = ledger::not_drained(tx, &name, (&folder, seq), limit)?;
            let mut shown = Vec::new();
            for of_one in refused.chunk_by(|(folder, _), (next, _)| folder == next) {
                let seqs: Vec<u64> = of_one.iter().map(|(_, refusal)| refusal.seq).collect();
                let Some((folder, _)) = of_one.first() else { continue };
                let make = |stored: Stored, cause| Record::of(&origin, &stored, cause);
                let records = ledger::of_set_aside(&dir, folder, &name, &seqs, make);
                let mut records: BTreeMap<u64, Record> =
                    records.into_iter().flatten().map(|record| (record.seq, record)).collect();
                shown.extend(of_one.iter().map(|(folder, refusal)| {
                    (folder.clone(), refusal.clone(), records.remove(&refusal.seq))
                }));
            }
            Ok::<_, LedgerError>(shown)
        });
        let shown = read.await?.into_iter();
        Ok(shown.map(|(folder, r, record)| self.refused_record(r, record, Some(folder))).collect())
    }

    fn refused_record(
        &self,
        refusal: ledger::Refusal,
        record: Option<Record>,
        set_aside: Option<String>,
    ) -> RefusedRecord {
        let at = Timestamp::from_millisecond(refusal.at_ms).unwrap_or_default();
        RefusedRecord {
            seq: refusal.seq,
            set_aside,
            passage: record.map(|record| RefusedPassage {
                worker: record.worker,
                worker_name: record.name,
                team: record.team,
                direction: record.direction.to_string(),
                at: record.at,
            }),
            reason: refusal.words,
            here: refusal.here,
            refused_at: self.origin.time(at),
            dismissed: false,
        }
    }

    /// Notes that refused records need nothing more. They stay listed, and are no trouble.
    pub async fn dismiss_refused(
        &self,
        query: DismissQuery,
        by: Actor,
    ) -> Result<DismissedRecords, Failure> {
        self.upstream(&query.name)?;
        let DismissQuery { name, seqs } = query;
        let (of, all) = (name.clone(), seqs.clone());
        let dismiss = self.store.write(Priority::Upkeep, move |tx| {
            match ledger::dismiss(tx, &of, &all).map_err(Failure::internal)? {
                None => Ok(()),
                Some(seq) => {
                    let problem = format!(
                        "record {seq} does not stand aside here: `gatehouse upstream refused {of}` \
                         lists those that do. A record of a database that was set aside cannot be \
                         dismissed"
                    );
                    Err(Failure::of(Code::Invalid, "seqs", problem))
                }
            }
        });
        dismiss.await?;
        tracing::info!(upstream = %name, ?seqs, ?by, "refused records are dismissed");
        self.ask_link(&name, Asked::Recount).await;
        Ok(DismissedRecords { records: seqs.len() as u64 })
    }

    /// Offers all refused records of an upstream again, dismissed ones too.
    pub async fn retry_refused(&self, query: UpstreamQuery) -> Result<Retried, Failure> {
        self.upstream(&query.name)?;
        let name = query.name.clone();
        let retry = self.store.write(Priority::Upkeep, move |tx| {
            ledger::undismiss(tx, &name)?;
            let records = ledger::count_refused(tx, &name)?;
            Ok::<_, LedgerError>((records, ledger::retry_refused(tx, &name, false)?))
        });
        let (records, back) = retry.await?;
        if let Some((first, last)) = back {
            self.notify_link(&query.name, first, last).await;
        }
        if records > 0 {
            self.ask_link(&query.name, Asked::Earlier).await;
        }
        Ok(Retried { records })
    }

    /// Tells an upstream's task that rows were put back into its outbox.
    pub async fn notify_link(&self, upstream: &str, from: u64, to: u64) {
        self.ask_link(upstream, Asked::Again { from, to }).await;
    }

    async fn ask_link(&self, upstream: &str, asked: Asked) {
        let mut links = self.upstreams.iter();
        let Some(link) = links.find(|link| link.state.borrow().name == upstream) else { return };
        let asked = link.asked.send(asked);
        // A link that is stuck or restarts reads its outbox when it connects.
        let _ = tokio::time::timeout(LINK_TIMEOUT, asked).await;
    }
}
