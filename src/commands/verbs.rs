//! Carries out each verb, through the same services as an admin's requests.

use rusqlite::Transaction;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    parse::{Item, RESEND_MAX, Verb},
    refusal,
    refusal::Refusal,
    shown_to,
    times::Times,
    waiting,
};
use crate::{
    clock::Monotonic,
    ledger::{self, Actor},
    roster::{self, Purpose, RosterError, State, Worker, WorkerId},
    services::{Code, DryRuns, Failure, PAGE, Remove, Services, SetState, Source},
    status,
    store::Priority,
};

/// Maximum number of records that one transaction queues again. It reads their bytes first, and new
/// attendance waits meanwhile.
const PIECE: u64 = 200;
/// Maximum number of ranges of missing records in a reply.
const GONE_NAMED: usize = 100;

/// How a command came.
#[derive(Clone, Copy, Default)]
pub(super) struct Way {
    /// It is signed.
    pub(super) signed: bool,
    /// Its issuer is trusted for faces.
    pub(super) trusted: bool,
    /// When a release is void.
    pub(super) void_after: Option<Monotonic>,
    /// It was begun before, and may have been carried out.
    pub(super) again: bool,
    /// Its times, while the clock is not trusted.
    pub(super) waits: Option<Times>,
}

/// Carries out a verb.
pub(super) async fn carry_out(
    services: &Services,
    verb: Verb,
    by: Actor,
    way: Way,
) -> Result<Value, Failure> {
    let Way { trusted, void_after, again, waits, .. } = way;
    if !verb.only_reads() {
        services.may_change(&by)?;
    }
    match verb {
        Verb::Edit { edit, photos } => {
            let enroll = Box::new(services.completed(*edit).await?);
            Box::pin(carry_out(services, Verb::Upsert { enroll, photos }, by, way)).await
        }
        Verb::Each(all) => Ok(each(services, all, by, way).await),
        // The reply has no name, because it may be stored longer than the worker's data.
        Verb::Upsert { enroll, photos } => {
            let mut dry = DryRuns::default();
            let done =
                services.enroll(Source::Afar { photos, trusted }, &mut dry, *enroll, by).await?;
            let mut result = json!({
                "id": done.worker.person.id,
                "result": done.result,
                "state": done.worker.state,
                "templates": done.worker.templates,
            });
            if let Some(waits) = done.worker.waits {
                result["waits"] = json!(waits.what);
            }
            if !done.turned.is_empty() {
                result["turned"] = to_result(done.turned)?;
            }
            Ok(result)
        }
        Verb::SetState(asked) => set_state(services, asked, by, again).await,
        Verb::Remove(asked) => match waits {
            Some(times) => waiting::bar(services, asked, by, times).await,
            None => remove(services, asked, by, again).await,
        },
        Verb::Digest => digest(services).await,
        Verb::Page { after, limit } => {
            let limit = usize::try_from(limit).unwrap_or(PAGE);
            let mut page = services.workers(&Default::default(), after, limit).await?;
            for worker in &mut page.workers {
                worker.consents.retain(|consent| match &consent.purpose {
                    Purpose::Face => true,
                    Purpose::Photo(upstream) => *upstream == by.user,
                });
            }
            to_result(page)
        }
        Verb::Release(release) => to_result(services.release(release, by, void_after).await?),
        Verb::Resend { from, to } => resend(services, &by.user, from, to).await,
        Verb::ResendBetween { since, until } => {
            let (since, until) = (since.as_millisecond(), until.as_millisecond());
            let between = move |tx: &Transaction<'_>| ledger::attended_between(tx, since, until);
            match services.store.read(between).await? {
                None => Ok(json!({ "rows": 0, "gone": 0, "gone_seqs": [] })),
                Some((from, to)) if to - from >= RESEND_MAX => {
                    Err(Refusal::TooLong { most: RESEND_MAX }.into())
                }
                Some((from, to)) => resend(services, &by.user, from, to).await,
            }
        }
        Verb::Show(id) => show(services, &id),
        Verb::Status => Ok(compact(services, &by.user).await),
        Verb::Listed { workers, enrolls } => {
            let listed = services.listed(workers, enrolls, by.clone()).await?;
            services.commands.count(&by.user, |c| c.commands_failed += listed.refused);
            to_result(listed)
        }
    }
}

/// Carries out several verbs, one after another. A verb that fails does not end the others.
async fn each(services: &Services, all: Vec<Item>, by: Actor, way: Way) -> Value {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for Item { id, verb } in all {
        let result = match verb {
            Ok(verb) => Box::pin(carry_out(services, verb, by.clone(), way)).await,
            Err(failure) => Err(failure),
        };
        match result {
            Ok(_) => done.push(json!(id)),
            Err(failure) => {
                let no = refusal(None, &shown_to(way.signed, failure));
                failed.push(json!({ "id": id, "code": no.code, "message": no.message }));
            }
        }
    }
    json!({ "done": done, "failed": failed })
}

/// Returns what a platform may know of one worker: no ID number, phone or photo.
fn show(services: &Services, id: &WorkerId) -> Result<Value, Failure> {
    let roster = services.roster.borrow().clone();
    let worker = roster.worker(id).ok_or_else(|| RosterError::NoSuchWorker(id.clone()))?;
    Ok(json!({
        "id": worker.person.id,
        "name": worker.person.name,
        "state": worker.state,
        "valid_from": worker.terms.valid_from,
        "valid_until": worker.terms.valid_until,
    }))
}

/// Converts a service's result to the result of a reply.
fn to_result(result: impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(result).map_err(Failure::internal)
}

async fn set_state(
    services: &Services,
    asked: SetState,
    by: Actor,
    again: bool,
) -> Result<Value, Failure> {
    let roster = services.roster.borrow().clone();
    if again && roster.worker(&asked.id).is_some_and(|w| w.state == asked.state) {
        return to_result(asked);
    }
    to_result(services.set_state(asked, by).await?)
}

async fn remove(
    services: &Services,
    asked: Remove,
    by: Actor,
    again: bool,
) -> Result<Value, Failure> {
    let id = asked.id.clone();
    match services.remove(asked, by).await {
        Err(failure) if again && failure.code == Code::NoSuchWorker => {
            let removed = json!({ "id": id, "state": State::Removed });
            let known = services.store.read(move |tx| roster::must_exist(tx, &id)).await;
            known.map(|()| removed).map_err(|_| failure)
        }
        done => to_result(done?),
    }
}

/// Returns a worker's line of the digest: id, name, team, contractor, trade, state, valid_from,
/// valid_until, consent, consent_on, contract_signed, trained_on and the number of templates.
/// U+001F separates the fields, and U+000A ends the line; no text can contain either. An absent
/// field is empty, and a day has the form 2026-10-01.
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

/// Returns the SHA-256 of the lines of all workers on the roster, in the order of their ids' bytes.
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
    let (version, workers, sha256) = read.await?;
    Ok(json!({ "version": version, "workers": workers, "sha256": sha256 }))
}

async fn resend(services: &Services, upstream: &str, from: u64, to: u64) -> Result<Value, Failure> {
    let last = services.store.read(ledger::last_seq).await?;
    let to = to.min(last);
    // The link gets the range first, so that an older acknowledgement does not remove the new rows.
    services.notify_link(upstream, from, to).await;
    let (mut rows, mut gone) = (0, Vec::<u64>::new());
    let mut next = from;
    while next <= to {
        let (name, upto) = (upstream.to_owned(), to.min(next.saturating_add(PIECE - 1)));
        let piece = services
            .store
            .write(Priority::Upkeep, move |tx| ledger::queue_again(tx, &name, next, upto));
        let piece = piece.await?;
        rows += piece.rows;
        gone.extend(piece.gone);
        next = upto + 1;
    }
    if rows > 0 {
        services.notify_link(upstream, from, to).await;
    }
    Ok(json!({ "rows": rows, "gone": gone.len(), "gone_seqs": ranges(&gone) }))
}

/// Returns ascending numbers as ranges, each with its first and last number.
fn ranges(seqs: &[u64]) -> Vec<[u64; 2]> {
    let ranges = seqs.chunk_by(|a, b| a + 1 == *b);
    ranges.filter_map(|s| Some([*s.first()?, *s.last()?])).take(GONE_NAMED).collect()
}

/// Returns the part of the status that a platform needs, without other platforms.
async fn compact(services: &Services, upstream: &str) -> Value {
    let status = status::gather(services).await;
    let own = |u: &&status::UpstreamStatus| u.link.name == upstream;
    let lanes: Vec<_> = status
        .lanes
        .iter()
        .map(|lane| json!({ "name": lane.name, "mode": lane.mode, "ready": lane.ready }))
        .collect();
    let degraded: Vec<_> =
        status.degraded.iter().filter(|d| !d.what.is_anothers(upstream)).collect();
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
mod tests;
