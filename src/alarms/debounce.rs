//! Alert debouncing: decides which troubles become alarms, and when. Pure: states of parts and the
//! time go in, alarms come out.
//!
//! An alarm is raised when a trouble has lasted for a while. It is over when the part was well for
//! a while. Changes in between are not reported; the final state always is.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::{PartState, Standing, Trouble, Verdict};
use crate::{
    clock::{Monotonic, Stamp},
    config::AlarmLimits,
    ledger::{Alarm, AlarmWhat, Detail, Param},
};

/// Minimum time that a part must be well before its alarm is over, if it does not flap.
const WELL_FOR: Duration = Duration::from_secs(10);
/// Number of raises of the same alarm from which on the part must be well for longer, twice as long
/// with each raise, so that a flapping part does not fill the ledger: at the maximum of 640 s it
/// has 12 entries an hour.
const FLAPS: u32 = 3;
/// Maximum number of times that the time is doubled.
const DOUBLED: u32 = 6;
/// Time after the end of an alarm after which its raises are counted from 1 again.
const CALM_FOR: Duration = Duration::from_secs(3600);
/// Timeout after which old records in the outbox are an alarm. Records that a platform asked for
/// again are old when they enter the outbox, and leave it sooner than this.
const OLD_FOR: Duration = Duration::from_secs(10);
/// Minimum interval between two raises of the same alarm.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Maximum number of alarms in a minute, of all parts together. The longest wait comes
/// first.
const A_MINUTE: usize = 12;
const MINUTE: Duration = Duration::from_secs(60);
/// Maximum number of standing alarms. The next one is raised when another is over.
const STANDING: usize = 128;
/// Maximum number of characters of a subject and of a text in an alarm's detail; the rest is cut.
const SUBJECT: usize = 160;
const DETAIL: usize = 300;

type Which = (AlarmWhat, String);

/// The reported state of one subject.
#[derive(Default)]
struct Reported {
    /// The alarm that was raised and is not over.
    standing: Option<Standing>,
    /// Time of its last raise.
    raised_at: Option<Monotonic>,
    /// Number of its raises, and the time of its last end.
    raises: u32,
    ended: Option<Monotonic>,
    /// Time since which the state differs from the reported one.
    turned: Option<Monotonic>,
    /// The highest count while the alarm stands.
    most: u64,
}

pub struct Debouncer {
    limits: AlarmLimits,
    reported: BTreeMap<Which, Reported>,
    /// Times of the alarms of the last minute.
    lately: VecDeque<Monotonic>,
    raised: u64,
}

impl Debouncer {
    /// Continues from the standing alarms that [`kept_after`] wrote. If they cannot be read, they
    /// are raised again.
    pub fn resumed(limits: AlarmLimits, kept: Option<&[u8]>) -> Debouncer {
        let mut reported = BTreeMap::new();
        for standing in read(kept) {
            let which = (standing.what, standing.subject.clone());
            reported.insert(which, Reported { standing: Some(standing), ..Reported::default() });
        }
        Debouncer { limits, reported, lately: VecDeque::new(), raised: 0 }
    }

    /// Returns the number of alarms raised since the start.
    pub fn raised(&self) -> u64 {
        self.raised
    }

    pub fn standing(&self) -> impl Iterator<Item = &Standing> {
        self.reported.values().filter_map(|reported| reported.standing.as_ref())
    }

    /// Returns the alarms that are due now, at most `room`. `looks` has all parts: a standing alarm
    /// of a part that is not in it is over.
    pub fn look(&mut self, stamp: Stamp, looks: &[PartState], room: usize) -> Vec<Alarm> {
        let now = Monotonic::from_millis(stamp.uptime_ms);
        while self.lately.front().is_some_and(|at| now.since(*at) >= MINUTE) {
            self.lately.pop_front();
        }
        let seen: BTreeMap<Which, &Verdict> = looks
            .iter()
            .map(|look| ((look.what, cut(&look.subject, SUBJECT)), &look.verdict))
            .collect();
        for (which, verdict) in &seen {
            if self.reported.contains_key(which) || matches!(verdict, Verdict::Trouble(_)) {
                self.reported.entry(which.clone()).or_default().turn(now, which.0, verdict);
            }
        }
        // Subjects without anything to report are forgotten.
        self.reported.retain(|which, reported| {
            let lately = |at: Monotonic| now.since(at) < AGAIN_AFTER;
            reported.standing.is_some()
                || reported.raised_at.is_some_and(lately)
                || reported.ended.is_some_and(|at| now.since(at) < CALM_FOR)
                || reported.turned.is_some() && seen.contains_key(which)
        });
        let mut due: Vec<(Monotonic, Which)> = Vec::new();
        for (which, reported) in &self.reported {
            let verdict = seen.get(which).copied();
            due.extend(
                self.due(now, reported, which.0, verdict).map(|since| (since, which.clone())),
            );
        }
        due.sort();
        let mut alarms = Vec::new();
        for (_, which) in due {
            if alarms.len() >= room || self.lately.len() >= A_MINUTE {
                break;
            }
            let Some(alarm) = self.report(stamp, &which, seen.get(&which).copied()) else {
                continue;
            };
            self.lately.push_back(now);
            alarms.push(alarm);
        }
        alarms
    }

    /// Returns the time since which a report on this subject waits, if the report is due.
    fn due(
        &self,
        now: Monotonic,
        reported: &Reported,
        what: AlarmWhat,
        verdict: Option<&Verdict>,
    ) -> Option<Monotonic> {
        if verdict.is_none() {
            return reported.standing.as_ref().map(|_| Monotonic::default());
        }
        let turned = reported.turned?;
        let timeout = match reported.standing {
            Some(_) => reported.well_for(),
            None => self.timeout(what),
        };
        let again = reported.raised_at.is_none_or(|at| now.since(at) >= AGAIN_AFTER);
        let may = reported.standing.is_some() || again;
        (may && now.since(turned) >= timeout).then_some(turned)
    }

    /// Returns the time that a trouble must last before its alarm is raised.
    fn timeout(&self, what: AlarmWhat) -> Duration {
        match what {
            AlarmWhat::Link => self.limits.link_down,
            AlarmWhat::Camera | AlarmWhat::Reader | AlarmWhat::Turnstile => self.limits.device_down,
            AlarmWhat::Outbox => OLD_FOR,
            AlarmWhat::Certificate
            | AlarmWhat::CertificateEnded
            | AlarmWhat::UnknownFaces
            | AlarmWhat::Neighbourhood
            | AlarmWhat::Undecided
            | AlarmWhat::ForeignRelease
            | AlarmWhat::Ledger
            | AlarmWhat::Roster
            | AlarmWhat::PassageSensor
            | AlarmWhat::FireGlitch
            | AlarmWhat::FireInput
            | AlarmWhat::Liveness => Duration::ZERO,
        }
    }

    fn report(&mut self, stamp: Stamp, which: &Which, verdict: Option<&Verdict>) -> Option<Alarm> {
        let standing = self.standing().count();
        let reported = self.reported.get_mut(which)?;
        reported.turned = None;
        let now = Monotonic::from_millis(stamp.uptime_ms);
        let (what, subject) = (which.0, which.1.clone());
        if let Some(over) = reported.standing.take() {
            reported.ended = Some(now);
            let detail = why_over(&over, stamp, reported.most, verdict.is_none());
            return Some(Alarm { what, subject, raised: false, detail });
        }
        let Some(Verdict::Trouble(trouble)) = verdict else { return None };
        if standing >= STANDING {
            return None;
        }
        let mut detail = trouble.detail.clone();
        for value in detail.params.values_mut() {
            if let Param::Text(text) = value {
                *text = cut(text, DETAIL);
            }
        }
        reported.standing = Some(Standing {
            what,
            subject: subject.clone(),
            detail: detail.clone(),
            raised: stamp,
        });
        let calm = reported.ended.is_none_or(|at| now.since(at) >= CALM_FOR);
        reported.raises = if calm { 1 } else { reported.raises.saturating_add(1) };
        reported.raised_at = Some(now);
        reported.most = trouble.count.unwrap_or(0);
        self.raised += 1;
        Some(Alarm { what, subject, raised: true, detail })
    }
}

impl Reported {
    /// Returns the time that the part must be well before its alarm is over.
    fn well_for(&self) -> Duration {
        WELL_FOR * (1 << self.raises.saturating_sub(FLAPS).min(DOUBLED))
    }

    fn turn(&mut self, now: Monotonic, what: AlarmWhat, verdict: &Verdict) {
        match (verdict, &self.standing) {
            (Verdict::Trouble(trouble), Some(_)) => {
                self.most = self.most.max(trouble.count.unwrap_or(0));
                self.turned = None;
            }
            (Verdict::Trouble(_), None) if what == AlarmWhat::Outbox => {
                self.turned.get_or_insert(now);
            }
            (Verdict::Trouble(Trouble { since, .. }), None) => {
                // If a trouble ended and began again between two checks, its time begins again.
                self.turned = Some((*since).max(self.turned.unwrap_or_default()).min(now));
            }
            (Verdict::Well, Some(_)) => drop(self.turned.get_or_insert(now)),
            (Verdict::Well, None) | (Verdict::Unknown, _) => self.turned = None,
        }
    }
}

fn cut(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

fn why_over(over: &Standing, now: Stamp, most: u64, gone: bool) -> Detail {
    let detail = match over.what {
        AlarmWhat::Neighbourhood => Detail::new("router_over"),
        _ if gone => Detail::new("configuration_gone"),
        AlarmWhat::Link | AlarmWhat::Outbox if most > 0 => {
            Detail::new("records_over").with("records", most)
        }
        AlarmWhat::UnknownFaces if most > 0 => Detail::new("faces_over").with("most", most),
        _ => Detail::new("over"),
    };
    detail.with("lasted_s", now.since(over.raised).as_secs())
}

/// Returns the standing alarms after this alarm, as the database keeps them. The caller writes them
/// in the alarm's own transaction.
pub fn kept_after(kept: Option<&[u8]>, alarm: &Alarm, stamp: Stamp) -> Vec<u8> {
    let mut standing = read(kept);
    standing.retain(|s| (s.what, &s.subject) != (alarm.what, &alarm.subject));
    if alarm.raised && standing.len() < STANDING {
        let Alarm { what, subject, detail, .. } = alarm.clone();
        standing.push(Standing { what, subject, detail, raised: stamp });
    }
    // Serializing text and numbers cannot fail.
    serde_json::to_vec(&standing).unwrap_or_default()
}

fn read(kept: Option<&[u8]>) -> Vec<Standing> {
    let Some(kept) = kept else { return Vec::new() };
    let mut standing: Vec<Standing> = serde_json::from_slice(kept).unwrap_or_else(|error| {
        tracing::error!(%error, "the stored alarms are damaged: standing ones are raised again");
        Vec::new()
    });
    standing.truncate(STANDING);
    standing
}

#[cfg(test)]
mod tests;
