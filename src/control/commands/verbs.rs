//! What each verb does, through the same services as an admin's requests.

use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Failure, parse::Verb};
use crate::{
    clock::Monotonic,
    control::{
        protocol::{Enrol, Enrolled, Released},
        services::{Refusal, Services, Sitting, Source},
        status,
    },
    ledger::{self, Actor, LedgerError},
    roster::{self, RosterError, State, Worker, WorkerId},
    store::Priority,
    uplink::Asked,
};

/// Records put back at once: their bytes are read first, and attendance waits meanwhile.
const PIECE: u64 = 200;
/// Workers read at once.
const PAGE: usize = 500;
/// Stretches of records that are gone, named in a reply.
const GONE_NAMED: usize = 100;
/// For a link that is asked to look at its outbox again. It looks by itself when it connects.
const LINK_PATIENCE: Duration = Duration::from_secs(5);

fn failed(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::Failure(failure) => failure,
        // There is no client.
        Refusal::Wire(e) => Failure::new("internal", e),
    }
}

/// `again`: it was begun before, and may have been done.
pub(super) async fn carry_out(
    services: &Services,
    verb: Verb,
    by: Actor,
    void_after: Option<Monotonic>,
    again: bool,
) -> Result<Value, Failure> {
    if !verb.only_reads() {
        services.may_change(&by)?;
    }
    match verb {
        Verb::Upsert { enrol, photos } => upsert(services, *enrol, photos, by).await,
        Verb::Suspend { id, reason } if again && is(services, &id, State::Suspended) => {
            Ok(json!({ "id": id, "state": State::Suspended, "reason": reason }))
        }
        Verb::Suspend { id, reason } => {
            services.hold(id, State::Suspended, &reason, by).await.map_err(failed)
        }
        Verb::Resume { id, reason } if again && is(services, &id, State::Active) => {
            Ok(json!({ "id": id, "state": State::Active, "reason": reason }))
        }
        Verb::Resume { id, reason } => {
            services.hold(id, State::Active, &reason, by).await.map_err(failed)
        }
        Verb::Remove { id, reason } => remove(services, id, reason, by, again).await,
        Verb::Digest => digest(services).await,
        Verb::Page { after, limit } => page(services, after, limit).await,
        Verb::Release { lane, direction, worker, reason } => {
            let done = services.release(lane, direction, worker, reason, by, void_after).await;
            let released: Released = typed(done.map_err(failed)?)?;
            Ok(json!({
                "lane": released.lane,
                "direction": released.direction,
                "released": released.answered.released,
                "outcome": released.answered.outcome,
                "detail": released.answered.detail,
            }))
        }
        Verb::Resend { from, to } => resend(services, &by.user, from, to).await,
        Verb::Status => Ok(compact(services, &by.user).await),
    }
}

fn typed<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, Failure> {
    serde_json::from_value(value).map_err(|e| Failure::new("internal", e))
}

/// Whether a worker on the roster is in this state.
fn is(services: &Services, id: &WorkerId, state: State) -> bool {
    services.roster.borrow().worker(id).is_some_and(|worker| worker.state == state)
}

/// The reply names nobody: it is kept for a while, when the worker may be long forgotten.
async fn upsert(
    services: &Services,
    enrol: Enrol,
    photos: Vec<Vec<u8>>,
    by: Actor,
) -> Result<Value, Failure> {
    let mut source = Source::Here(photos);
    let done = services.enrol(&mut source, &mut Sitting::default(), enrol, by).await;
    let Enrolled { worker, result } = typed(done.map_err(failed)?)?;
    Ok(json!({
        "id": worker.person.id,
        "result": result,
        "state": worker.state,
        "templates": worker.templates,
    }))
}

async fn remove(
    services: &Services,
    id: WorkerId,
    reason: Option<String>,
    by: Actor,
    again: bool,
) -> Result<Value, Failure> {
    let done = services.remove(id.clone(), reason, by).await.map_err(failed);
    if again && done.as_ref().is_err_and(|failure| failure.code == "no_such_worker") {
        let (asked, removed) = (id.clone(), json!({ "id": id, "state": State::Removed }));
        let known = services.store.read(move |tx| roster::must_exist(tx, &asked)).await;
        return if known.is_ok() { Ok(removed) } else { done };
    }
    done
}

/// SHA-256 over a line for each worker on the roster, in the order of their ids' bytes: id, name,
/// team, contractor, trade, state, valid_from, valid_until, consent, consent_on, contract_signed,
/// trained_on and the number of templates, with U+001F between them and U+000A after the last. What
/// is not there is empty; days are 2026-10-01; no text can hold either character.
fn digest_line(worker: &Worker) -> String {
    let Worker { person, terms, .. } = worker;
    let day = |day: Option<jiff::civil::Date>| day.map_or_else(String::new, |d| d.to_string());
    let fields = [
        person.id.as_str().to_owned(),
        person.name.clone(),
        person.team.clone(),
        person.contractor.clone(),
        person.trade.clone(),
        worker.state.word().to_owned(),
        day(terms.valid_from),
        day(terms.valid_until),
        terms.consent.clone().unwrap_or_default(),
        day(terms.consent_on),
        day(terms.contract_signed),
        day(terms.trained_on),
        worker.templates.to_string(),
    ];
    fields.join("\u{1F}") + "\n"
}

async fn digest(services: &Services) -> Result<Value, Failure> {
    let read = services.store.read(|tx| {
        let (mut hash, mut count, mut after) = (Sha256::new(), 0, None);
        loop {
            let page = roster::list(tx, None, after.as_ref(), PAGE)?;
            for worker in &page.workers {
                hash.update(digest_line(worker));
                count += 1;
            }
            after = page.next;
            if after.is_none() {
                let sha256 = hex::encode(hash.finalize());
                return Ok::<_, RosterError>((roster::version(tx)?, count, sha256));
            }
        }
    });
    let (version, workers, sha256) = read.await.map_err(|e| failed(e.into()))?;
    Ok(json!({ "version": version, "workers": workers, "sha256": sha256 }))
}

async fn page(services: &Services, after: Option<WorkerId>, limit: u64) -> Result<Value, Failure> {
    let limit = usize::try_from(limit).unwrap_or(PAGE);
    let read = services.store.read(move |tx| {
        Ok::<_, RosterError>((roster::version(tx)?, roster::list(tx, None, after.as_ref(), limit)?))
    });
    let (version, page) = read.await.map_err(|e| failed(e.into()))?;
    Ok(json!({ "version": version, "workers": page.workers, "next": page.next }))
}

async fn resend(services: &Services, upstream: &str, from: u64, to: u64) -> Result<Value, Failure> {
    let last = services.store.read(ledger::last_seq).await.map_err(|e| failed(e.into()))?;
    let to = to.min(last);
    // The link learns of it first, so that an older acknowledgement does not take them out again.
    again(services, upstream, from, to).await;
    let (mut rows, mut gone) = (0, Vec::<u64>::new());
    let mut next = from;
    while next <= to {
        let (name, upto) = (upstream.to_owned(), to.min(next.saturating_add(PIECE - 1)));
        let piece = services
            .store
            .write(Priority::Upkeep, move |tx| ledger::queue_again(tx, &name, next, upto));
        let piece = piece.await.map_err(|e: LedgerError| failed(e.into()))?;
        rows += piece.rows;
        gone.extend(piece.gone);
        next = upto + 1;
    }
    if rows > 0 {
        again(services, upstream, from, to).await;
    }
    Ok(json!({ "rows": rows, "gone": gone.len(), "gone_seqs": stretches(&gone) }))
}

async fn again(services: &Services, upstream: &str, from: u64, to: u64) {
    let mut links = services.upstreams.iter();
    let Some(link) = links.find(|link| link.state.borrow().name == upstream) else { return };
    let asked = link.asked.send(Asked::Again { from, to });
    // A link that stands still, or begins anew, looks at its outbox when it connects.
    let _ = tokio::time::timeout(LINK_PATIENCE, asked).await;
}

/// Rising numbers as stretches, from and to.
fn stretches(seqs: &[u64]) -> Vec<[u64; 2]> {
    let mut stretches: Vec<[u64; 2]> = Vec::new();
    for seq in seqs {
        match stretches.last_mut() {
            Some([_, to]) if *to + 1 == *seq => *to = *seq,
            _ => stretches.push([*seq, *seq]),
        }
    }
    stretches.truncate(GONE_NAMED);
    stretches
}

/// What a platform needs to know of the gateway, and nothing of other platforms.
async fn compact(services: &Services, upstream: &str) -> Value {
    let status = status::gather(services).await;
    let own = |u: &&status::UpstreamStatus| u.link.name == upstream;
    let others = services.upstreams.iter().map(|link| link.state.borrow().name.clone());
    let others: Vec<_> = others.filter(|name| name != upstream).collect();
    let is_anothers = |what: &str| {
        others.iter().any(|name| {
            what.strip_prefix("upstream ") == Some(name)
                || what
                    .strip_prefix("certificate ")
                    .is_some_and(|rest| rest.split('/').next() == Some(name))
        })
    };
    let lanes: Vec<_> = status
        .lanes
        .iter()
        .map(|lane| json!({ "name": lane.name, "mode": lane.mode, "ready": lane.ready }))
        .collect();
    let degraded: Vec<_> = status.degraded.iter().filter(|d| !is_anothers(&d.what)).collect();
    json!({
        "version": status.version,
        "at": status.clock.now,
        "started_at": status.started_at,
        "clock_synced": status.clock.synced,
        "roster": { "version": status.roster.version, "workers": status.roster.workers },
        "ledger": status.ledger.id,
        "outbox": status.upstreams.iter().find(own).and_then(|u| u.outbox),
        "lanes": lanes,
        "degraded": degraded,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::{Person, Terms};

    /// As long as an admin's or a platform's texts may be, of characters that take most room.
    fn longest(n: usize) -> Worker {
        let text = |most: usize| "\u{10FFFF}".repeat(most);
        let day = Some(jiff::civil::date(2026, 10, 1));
        let id = format!("{n:032}").parse().unwrap();
        let (name, team, contractor, trade) = (text(64), text(64), text(128), text(64));
        let mut worker = Worker::new(Person { id, name, team, contractor, trade });
        worker.terms = Terms {
            valid_from: day,
            valid_until: day,
            consent: Some(text(64)),
            consent_on: day,
            contract_signed: day,
            trained_on: day,
        };
        (worker.state, worker.state_reason) = (State::Suspended, Some(text(200)));
        worker
    }

    #[test]
    fn i8_the_largest_page_fits_into_a_message() {
        let workers: Vec<_> = (0..super::super::parse::PAGE_MAX as usize).map(longest).collect();
        let page = json!({ "version": u64::MAX, "workers": workers, "next": "x".repeat(32) });
        let reply = crate::uplink::profiles::native::command::done(&"x".repeat(64), page);
        assert!(reply.to_string().len() < 1_000_000, "{}", reply.to_string().len());
    }

    #[test]
    fn a_digest_line_is_as_documented_and_stretches_are_counted() {
        let mut worker = longest(1);
        worker.person.id = "W001".parse().unwrap();
        worker.person.name = "刘峰".into();
        (worker.person.team, worker.person.contractor) = ("t".into(), "c".into());
        worker.person.trade = "s".into();
        (worker.terms.consent, worker.terms.valid_from) = (Some("C-1".into()), None);
        worker.templates = 2;
        let expected =
            "W001|刘峰|t|c|s|suspended||2026-10-01|C-1|2026-10-01|2026-10-01|2026-10-01|2\n";
        assert_eq!(digest_line(&worker), expected.replace('|', "\u{1F}"));
        assert_eq!(stretches(&[1, 2, 3, 5, 9, 10]), [[1, 3], [5, 5], [9, 10]]);
        let odd: Vec<u64> = (0..300).map(|n| 2 * n + 1).collect();
        assert_eq!(stretches(&odd).len(), GONE_NAMED);
    }
}
