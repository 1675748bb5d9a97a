//! The records that a platform refused: lists them, offers them again.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Failure, Services, refusal::Refusal};
use crate::{
    attendance::Record,
    ledger::{self, LedgerError, WithheldFor},
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
            Refusal::NoSuchUpstream { name: name.to_owned(), upstreams }.into()
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
            Ok::<_, LedgerError>((refused, records))
        });
        let (refused, records) = read.await?;
        let mut records: std::collections::BTreeMap<u64, Record> =
            records.into_iter().flatten().map(|record| (record.seq, record)).collect();
        let shown = refused.into_iter().map(|refusal| {
            let at = Timestamp::from_millisecond(refusal.at_ms).unwrap_or_default();
            RefusedRecord {
                seq: refusal.seq,
                passage: records.remove(&refusal.seq).map(|record| RefusedPassage {
                    worker: record.worker,
                    worker_name: record.name,
                    team: record.team,
                    direction: record.direction.to_string(),
                    at: record.at,
                }),
                reason: refusal.words,
                here: refusal.here,
                refused_at: self.origin.time(at),
            }
        });
        Ok(shown.collect())
    }

    /// Offers all refused records of an upstream again.
    pub async fn retry_refused(&self, query: UpstreamQuery) -> Result<Retried, Failure> {
        self.upstream(&query.name)?;
        let name = query.name.clone();
        let retry = self.store.write(Priority::Upkeep, move |tx| {
            let records = ledger::count_refused(tx, &name)?;
            Ok::<_, LedgerError>((records, ledger::retry_refused(tx, &name, false)?))
        });
        let (records, back) = retry.await?;
        if let Some((first, last)) = back {
            self.notify_link(&query.name, first, last).await;
        }
        Ok(Retried { records })
    }

    /// Tells an upstream's task that rows were put back into its outbox.
    pub async fn notify_link(&self, upstream: &str, from: u64, to: u64) {
        let mut links = self.upstreams.iter();
        let Some(link) = links.find(|link| link.state.borrow().name == upstream) else { return };
        let asked = link.asked.send(Asked::Again { from, to });
        // A link that is stuck or restarts reads its outbox when it connects.
        let _ = tokio::time::timeout(LINK_TIMEOUT, asked).await;
    }
}
