//! Looks after the alarms: asks the parts of the gate how they are, and records what is to be told.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    alarms::{AlarmState, Burst, Debouncer, PartState, Proc, Relocation, Trouble, kept_after},
    clock::{Monotonic, Stamp},
    ledger::{Alarm, AlarmWhat, Detail, LedgerError},
    services::Services,
    status::{self, Backlog},
    store::{self, Priority},
};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Between two looks at the outboxes, which are counted, and at the router.
const SLOWLY: Duration = Duration::from_secs(5);
/// Alarms that wait for a disk that takes nothing in. Then nothing more is told: what is so later
/// is told later.
const PENDING: usize = 16;

/// Where the database keeps what stands, and which router is known.
pub(super) const STANDING: &str = "alarms";
pub(super) const NEIGHBOURHOOD: &str = "neighbourhood";

/// What an earlier run left in the database.
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
    /// When the outboxes and the router were looked at last.
    looked: Option<Monotonic>,
    pending: VecDeque<(Stamp, Alarm)>,
}

impl AlarmKeeper {
    pub(super) fn new(services: Arc<Services>, kept: &Kept) -> AlarmKeeper {
        let limits = services.alarm_limits;
        let burst = |_| Burst::new(limits.unknown_faces.into(), limits.unknown_faces_within);
        AlarmKeeper {
            debounce: Debouncer::resumed(limits, kept.standing.as_deref()),
            bursts: services.lanes.iter().map(burst).collect(),
            relocation: Relocation::resumed(kept.relocation.as_deref()),
            proc: Proc::default(),
            backlogs: None,
            looked: None,
            pending: VecDeque::new(),
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
            // The disk says why by itself.
            self.backlogs = status::backlogs(&self.services).await.ok();
            self.look_around().await;
        }
        let own = self.own_looks(now);
        let mut looks = status::looks(&self.services, self.backlogs.as_deref());
        looks.extend(own.iter().cloned());
        let room = PENDING - self.pending.len();
        let stamp = self.services.clock.stamp();
        for alarm in self.debounce.look(stamp, &looks, room) {
            let Alarm { what, subject, detail, raised } = &alarm;
            match raised {
                true => tracing::warn!(%what, subject, %detail, "alarm"),
                false => tracing::info!(%what, subject, %detail, "alarm over"),
            }
            self.pending.push_back((stamp, alarm));
        }
        self.services.alarms.send_replace(AlarmState {
            raised: self.debounce.raised(),
            standing: self.debounce.standing().cloned().collect(),
            looks: own,
        });
        self.record().await;
    }

    /// What only this task knows of: how many came in which time, and who is next door.
    fn own_looks(&mut self, now: Monotonic) -> Vec<PartState> {
        let within = self.services.alarm_limits.unknown_faces_within.as_secs_f64();
        let mut looks = Vec::new();
        for (lane, burst) in self.services.lanes.iter().zip(&mut self.bursts) {
            let found = burst.look(now, lane.state.borrow().unknown_faces);
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

    /// Is the router the one that is known? What is learned counts once it is in the database.
    async fn look_around(&mut self) {
        let seen = self.proc.router().unwrap_or_else(|error| {
            tracing::debug!(%error, "the kernel does not say which router there is");
            None
        });
        let Some(learned) = self.relocation.look(self.services.clock.stamp(), seen) else {
            return;
        };
        // Addresses and numbers: there is nothing in it that JSON could not say.
        let Ok(bytes) = serde_json::to_vec(&learned) else { return };
        let keep = self.services.store.write(Priority::Upkeep, move |tx| {
            Ok::<_, LedgerError>(store::set_meta(tx, NEIGHBOURHOOD, &bytes)?)
        });
        match keep.await {
            Ok(()) => self.relocation.adopt(learned, self.services.clock.monotonic()),
            Err(error) => tracing::debug!(%error, "the router is not kept yet"),
        }
    }

    async fn record(&mut self) {
        while let Some((stamp, alarm)) = self.pending.front().cloned() {
            let ledger = self.services.ledger.clone();
            let append = self.services.store.write(Priority::Upkeep, move |tx| {
                let kept = store::meta(tx, STANDING)?;
                store::set_meta(tx, STANDING, &kept_after(kept.as_deref(), &alarm, stamp))?;
                ledger.append(tx, stamp, alarm).map(drop)
            });
            let appended: Result<(), LedgerError> = append.await;
            if let Err(error) = appended {
                // The disk says why by itself; all else would be said at each look.
                tracing::debug!(%error, "not recorded yet");
                return;
            }
            self.pending.pop_front();
        }
    }
}
