//! The task of the alarms: collects the states of the parts, and records the alarms that are due.

use std::{sync::Arc, time::Duration};

use rusqlite::Transaction;
use tokio_util::sync::CancellationToken;

use super::pending::Pending;

use crate::{
    alarms::{AlarmState, Burst, Debouncer, PartState, Proc, Relocation, Trouble, kept_after},
    clock::Monotonic,
    ledger::{Alarm, AlarmWhat, Detail, LedgerError},
    services::Services,
    status::{self, Backlog},
    store::{self, Priority},
};

/// Interval between two checks.
const EVERY: Duration = Duration::from_secs(1);
/// Interval between two checks of the outboxes (their rows are counted) and of the router.
const SLOWLY: Duration = Duration::from_secs(5);
/// Maximum number of alarms that wait for a failing disk. When it is reached, no further alarm is
/// raised until the disk is well.
const PENDING: usize = 16;

/// Keys of the standing alarms and of the known router in the database.
pub(super) const STANDING: &str = "alarms";
pub(super) const NEIGHBOURHOOD: &str = "neighbourhood";

/// The stored states of an earlier run.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) standing: Option<Vec<u8>>,
    pub(super) relocation: Option<Vec<u8>>,
}

pub(super) struct AlarmKeeper {
    services: Arc<Services>,
    debounce: Debouncer,
    /// One for each lane.
    bursts: Vec<Burst>,
    relocation: Relocation,
    proc: Proc,
    backlogs: Option<Vec<Backlog>>,
    /// Time of the last check of the outboxes and the router.
    looked: Option<Monotonic>,
    pending: Pending<Alarm>,
}

impl AlarmKeeper {
    pub(super) fn new(services: Arc<Services>, kept: &Kept) -> AlarmKeeper {
        let limits = services.alarm_limits;
        let burst = |_| Burst::new(limits.unknown_faces.into(), limits.unknown_faces_within);
        let debounce = Debouncer::resumed(limits, kept.standing.as_deref());
        for standing in debounce.standing().filter(|alarm| alarm.what == AlarmWhat::Liveness) {
            tracing::warn!(
                camera = standing.subject,
                "it had fallen back to watch before this start. Where liveness = \"guard\" is \
                 configured, the guard is asked again, and its visits count from now"
            );
        }
        AlarmKeeper {
            debounce,
            bursts: services.lanes.iter().map(burst).collect(),
            relocation: Relocation::resumed(kept.relocation.as_deref()),
            proc: Proc::default(),
            backlogs: None,
            looked: None,
            pending: Pending::new(PENDING),
            services,
        }
    }

    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let mut tick = tokio::time::interval(EVERY);
        loop {
            tokio::select! {
                _ = cancel.cancelled() => return,
                _ = tick.tick() => {}
            }
            self.look().await;
        }
    }

    async fn look(&mut self) {
        let now = self.services.clock.monotonic();
        if self.looked.is_none_or(|at| now.since(at) >= SLOWLY) {
            self.looked = Some(now);
            // The store reports its errors itself.
            self.backlogs = status::backlogs(&self.services).await.ok();
            self.check_router().await;
        }
        let own = self.own_looks(now);
        let mut looks = status::looks(&self.services, self.backlogs.as_deref());
        looks.extend(own.iter().cloned());
        let room = self.pending.room();
        let stamp = self.services.clock.stamp();
        for alarm in self.debounce.look(stamp, &looks, room) {
            let Alarm { what, subject, detail, raised } = &alarm;
            match raised {
                true => tracing::warn!(%what, subject, %detail, "alarm"),
                false => tracing::info!(%what, subject, %detail, "alarm over"),
            }
            // The debouncer raises at most as many alarms as there is room for.
            let _ = self.pending.add(stamp, alarm);
        }
        self.services.alarms.send_replace(AlarmState {
            raised: self.debounce.raised(),
            standing: self.debounce.standing().cloned().collect(),
            looks: own,
        });
        self.record().await;
    }

    /// Returns the states that only this task determines: bursts of unknown faces, and the router.
    fn own_looks(&mut self, now: Monotonic) -> Vec<PartState> {
        let within = self.services.alarm_limits.unknown_faces_within.as_secs_f64();
        let mut looks = Vec::new();
        for (lane, burst) in self.services.lanes.iter().zip(&mut self.bursts) {
            let found = burst.look(now, lane.state.borrow().counters.unknown_faces);
            let trouble = found.map(|(since, count)| Trouble {
                since,
                detail: Detail::new("faces_unknown")
                    .with("count", count)
                    .with("within", within.to_string()),
                count: Some(count),
            });
            looks.push(PartState::new(AlarmWhat::UnknownFaces, &lane.name, trouble));
        }
        looks.extend(self.relocation.trouble(self.services.started));
        looks
    }

    /// Checks the default router. A change counts after its commit.
    async fn check_router(&mut self) {
        let seen = self.proc.router().unwrap_or_else(|error| {
            tracing::debug!(%error, "cannot read the router from the kernel");
            None
        });
        let Some(learned) = self.relocation.look(self.services.clock.stamp(), seen) else {
            return;
        };
        // Serializing addresses and numbers cannot fail.
        let Ok(bytes) = serde_json::to_vec(&learned) else { return };
        let keep = self.services.store.write(Priority::Upkeep, move |tx| {
            Ok::<_, LedgerError>(store::set_meta(tx, NEIGHBOURHOOD, &bytes)?)
        });
        match keep.await {
            Ok(()) => self.relocation.adopt(learned, self.services.clock.monotonic()),
            Err(error) => tracing::debug!(%error, "the router is not stored yet"),
        }
    }

    async fn record(&mut self) {
        let services = &self.services;
        let append = |stamp, alarm: Alarm| {
            let ledger = services.ledger.clone();
            move |tx: &Transaction<'_>| {
                let kept = store::meta(tx, STANDING)?;
                store::set_meta(tx, STANDING, &kept_after(kept.as_deref(), &alarm, stamp))?;
                ledger.append(tx, stamp, alarm).map(drop)
            }
        };
        self.pending.commit(&services.store, append).await;
    }
}
