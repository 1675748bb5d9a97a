//! Looks at every part of the daemon, and at what of it needs somebody's attention.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    super::services::{CameraPanel, LanePanel, Services},
    AlarmStatus, AlarmsStatus, CameraStatus, ClockStatus, Degraded, DiskStatus, Failing,
    LaneStatus, LedgerStatus, ProcessStatus, RosterStatus, StageStatus, Status, UpstreamStatus,
    troubles::{self, Backlog},
};
use crate::{
    alarms::{Look, Trouble},
    clock::Monotonic,
    figures::counted,
    ledger::{self, AlarmWhat, LaneMode, LedgerError},
    store::{self, Room},
};

/// Below this a full disk is near.
const DISK_LOW_BYTES: u64 = 200 * 1024 * 1024;
/// For so long after it failed, and longer while the disk does, a lane's commit is shown.
const COMMIT_FAILED: Duration = Duration::from_secs(10);
/// For so long after a lane was begun anew, its fault is shown.
const FAULT_SHOWN: Duration = Duration::from_secs(10 * 60);
/// A commit that takes so long is felt at the gate.
const SLOW_COMMIT_MS: u64 = 1000;

/// Collects what needs attention, with times as people read them.
struct Attention<'a> {
    services: &'a Services,
    now: Monotonic,
    found: Vec<Degraded>,
}

impl Attention<'_> {
    fn since(&self, at: Monotonic) -> String {
        let now = self.services.clock.stamp();
        let ago = i64::try_from(self.now.since(at).as_millis()).unwrap_or(i64::MAX);
        let at = crate::clock::Stamp { wall_ms: now.wall_ms.saturating_sub(ago), ..now };
        self.services.origin.time(at.timestamp())
    }

    fn add(&mut self, what: impl Into<String>, since: Monotonic, remedy: impl Into<String>) {
        let since = self.since(since);
        self.found.push(Degraded { what: what.into(), since, remedy: remedy.into() });
    }

    fn trouble(&mut self, what: impl Into<String>, trouble: Trouble) {
        self.add(what, trouble.since, trouble.text);
    }

    /// Of one that was told as an alarm: since then. It may be older than this run of the daemon.
    fn look(&mut self, what: String, look: &Look) {
        let Some(trouble) = look.trouble() else { return };
        let alarms = self.services.alarms.borrow();
        let told =
            alarms.standing.iter().find(|s| (s.what, &s.subject) == (look.what, &look.subject));
        let since = match told {
            Some(alarm) => self.services.origin.time(wall(alarm.wall_ms)),
            None => self.since(trouble.since),
        };
        drop(alarms);
        self.found.push(Degraded { what, since, remedy: trouble.text.clone() });
    }
}

pub(in crate::control) async fn gather(services: &Services) -> Status {
    let now = services.clock.monotonic();
    let mut attention = Attention { services, now, found: Vec::new() };
    let lanes = services.lanes.iter().map(|panel| lane(panel, &mut attention)).collect();
    let (size, pruned_before, backlogs) = match kept(services).await {
        Ok((size, pruned, backlogs)) => (Some(size), Some(pruned), Some(backlogs)),
        Err(error) => {
            attention.add("ledger", now, format!("it cannot be read, see to the disk: {error}"));
            (None, None, None)
        }
    };
    let upstreams = upstreams(services, backlogs.as_deref(), &mut attention);
    let alarms = alarms(services, &mut attention);
    let stamp = services.clock.stamp();
    if !stamp.synced {
        attention.add(
            "clock",
            services.started,
            "the kernel does not hold the clock for synchronised: start chrony or systemd-timesyncd; \
             until then validity dates do not deny",
        );
    }
    for late in services.beats.late() {
        let remedy = "makes no progress; where it stays so, systemd starts the daemon anew";
        attention.add(late.part, late.since, remedy);
    }
    let disk = disk(services, &mut attention);
    if let Some(down) = &*services.exporter.borrow() {
        attention.add("metrics", down.since, down.error.clone());
    }
    let roster = services.roster.borrow().clone();
    if roster.damaged > 0 {
        let remedy = format!(
            "{} of workers or photos damaged and left out; the log names them: remove and enrol \
             them again",
            crate::figures::counted(roster.damaged, "sealed value")
        );
        attention.add("roster", services.started, remedy);
    }
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        gateway: services.origin.gateway.clone(),
        project: services.origin.project.clone(),
        started_at: attention.since(services.started),
        lanes,
        roster: RosterStatus {
            workers: roster.workers().len(),
            templates: roster.templates(),
            version: roster.version(),
        },
        ledger: LedgerStatus {
            id: services.ledger.id.to_string(),
            size,
            pruned_before,
            kept_until: services.retention.kept_until(),
        },
        upstreams,
        photos: services.album.state(),
        clock: ClockStatus {
            synced: stamp.synced,
            now: services.origin.time(stamp.timestamp()),
            boot: stamp.boot.to_string(),
            uptime_ms: stamp.uptime_ms,
        },
        disk,
        alarms,
        stages: stages(services),
        process: process(),
        degraded: attention.found,
    }
}

/// What the database says: the ledger's size, how far it was pruned, and each upstream's outbox.
async fn kept(services: &Services) -> Result<(u64, u64, Vec<Backlog>), LedgerError> {
    let read = services
        .store
        .read(move |tx| Ok::<_, LedgerError>((ledger::size(tx)?, ledger::pruned_before(tx)?)));
    let (size, pruned) = read.await?;
    Ok((size, pruned, troubles::backlogs(services).await?))
}

fn lane(lane: &LanePanel, attention: &mut Attention<'_>) -> LaneStatus {
    let cameras: Vec<_> = lane.cameras.iter().map(|c| camera(lane, c, attention)).collect();
    let turnstile = lane.turnstile.borrow().clone();
    if let Some(trouble) = troubles::turnstile(&turnstile) {
        attention.trouble(format!("turnstile {}", lane.name), trouble);
    }
    if turnstile.lost_events > 0 {
        let remedy = format!("{} of its events came too fast and are lost", turnstile.lost_events);
        attention.add(format!("turnstile {}", lane.name), turnstile.since, remedy);
    }
    let gate = lane.state.borrow().clone();
    // Where nobody has come since, the store knows that its disk is well again.
    let fails = attention.services.store.state().failing.is_some();
    let recent = |last: Monotonic| attention.now.since(last) < COMMIT_FAILED;
    let failing = gate.failing.filter(|(_, last)| fails || recent(*last));
    if let Some((since, _)) = failing {
        let error = gate.last_error.clone().unwrap_or_default();
        let remedy = format!("nothing can be recorded, so nobody is let through: {error}");
        attention.add(format!("lane {}", lane.name), since, remedy);
    }
    if let Some((at, fault)) = &gate.fault
        && attention.now.since(*at) < FAULT_SHOWN
    {
        let remedy = format!("restarted {}: {fault}", counted(gate.restarts, "time"));
        attention.add(format!("lane {}", lane.name), *at, remedy);
    }
    let zone = |at_ms| Timestamp::from_millisecond(at_ms).ok();
    let mode_since =
        |at_ms: Option<i64>| at_ms.and_then(zone).map(|at| attention.services.origin.time(at));
    if gate.mode.mode != LaneMode::Normal {
        let since = mode_since(gate.mode.at_ms).unwrap_or_default();
        let what = match gate.mode.mode {
            LaneMode::Free => "it stands open to everybody",
            _ => "nobody enters",
        };
        let remedy = format!(
            "{what} ({}): `gatehouse lane mode {} normal --reason …` ends that",
            gate.mode.reason, lane.name
        );
        attention.found.push(Degraded { what: format!("lane {}", lane.name), since, remedy });
    }
    if gate.mode.mode == LaneMode::Free && !turnstile.held_open {
        let remedy = "it is to stand open and its turnstile does not: see to it by hand";
        attention.add(format!("turnstile {}", lane.name), turnstile.since, remedy);
    }
    if gate.mode.mode != LaneMode::Free && turnstile.held_open {
        let remedy = "it stands open though the lane's mode does not say so: see to it";
        attention.add(format!("turnstile {}", lane.name), turnstile.since, remedy);
    }
    if turnstile.fire == Some(true) {
        attention.add(format!("fire alarm {}", lane.name), turnstile.since, "the input is on");
    }
    let seeing = cameras.iter().all(|camera| camera.state.connected && !camera.stalled);
    LaneStatus {
        name: lane.name.clone(),
        mode: gate.mode.mode,
        mode_reason: gate.mode.at_ms.map(|_| gate.mode.reason.clone()),
        mode_by: gate.mode.by.clone(),
        mode_since: mode_since(gate.mode.at_ms),
        ready: turnstile.connected && seeing && failing.is_none() && !fails,
        cameras,
        turnstile,
        gate,
    }
}

fn camera(lane: &LanePanel, camera: &CameraPanel, attention: &mut Attention<'_>) -> CameraStatus {
    let state = camera.state.borrow().clone();
    let stalled = troubles::stalled(camera, &state, attention.now);
    if let Some(trouble) = troubles::camera(camera, &state, attention.now) {
        attention.trouble(format!("camera {}", troubles::camera_name(lane, camera)), trouble);
    }
    let limit = attention.services.alarm_limits.undecided;
    let undecided = troubles::undecided(lane, camera, attention.now, limit);
    if let Some(trouble) = undecided.or_else(|| troubles::too_small(camera, attention.now, limit)) {
        attention.trouble(format!("camera {}", troubles::camera_name(lane, camera)), trouble);
    }
    let seen = camera.seen.counts();
    if seen.failed > 0 {
        let remedy = format!("a model failed on {}; see the log", counted(seen.failed, "frame"));
        let started = attention.services.started;
        attention.add(format!("vision {}/{}", lane.name, camera.direction), started, remedy);
    }
    CameraStatus {
        direction: camera.direction,
        source: camera.source.clone(),
        stalled,
        lent: camera.slot.lent(),
        state,
        seen,
    }
}

fn upstreams(
    services: &Services,
    backlogs: Option<&[Backlog]>,
    attention: &mut Attention<'_>,
) -> Vec<UpstreamStatus> {
    let now = services.clock.stamp();
    let mut upstreams = Vec::new();
    for (n, upstream) in services.upstreams.iter().enumerate() {
        let link = upstream.state.borrow().clone();
        let backlog = backlogs.and_then(|all| all.get(n)).copied();
        let oldest = backlog.and_then(|(_, oldest)| oldest);
        let age_s = |at| i64::try_from(troubles::age(at, now).as_secs()).unwrap_or(i64::MAX);
        // That the link is down says already that records wait.
        let old = |backlog| troubles::outbox(&link, backlog, now, &services.alarm_limits);
        let trouble = troubles::link(&link, backlog).or_else(|| backlog.and_then(old));
        if let Some(trouble) = trouble {
            attention.trouble(format!("upstream {}", link.name), trouble);
        }
        let what = format!("upstream {}", link.name);
        if let Some(reason) = &link.not_subscribed {
            let remedy = format!(
                "the broker does not let us subscribe ({reason}): no command comes, nor an \
                 acknowledgement of the platform; its operator must allow `command` and `ack`"
            );
            attention.add(what.clone(), link.since, remedy);
        }
        if let Some(trouble) = &link.last_trouble
            && attention.now.since(link.troubled_at) < FAULT_SHOWN
        {
            attention.add(what, link.troubled_at, trouble.clone());
        }
        let certificates = troubles::certificates(&link, now, services.started);
        let ended = |soon: &Look| {
            let same = certificates.iter().filter(|c| c.subject == soon.subject);
            same.filter(|c| c.what == AlarmWhat::CertificateEnded).any(|c| c.trouble().is_some())
        };
        for look in &certificates {
            // One that has ended is not shown to end soon as well.
            let twice = look.what == AlarmWhat::Certificate && ended(look);
            if !twice {
                attention.look(format!("certificate {}", look.subject), look);
            }
        }
        let carried_out = services.commands.of(&link.name);
        upstreams.push(UpstreamStatus {
            link,
            outbox: backlog.map(|(rows, _)| rows),
            oldest_s: oldest.map(age_s),
            carried_out,
        });
    }
    upstreams
}

fn wall(at_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// What was told as an alarm; and those troubles that only whoever looks after alarms knows of.
fn alarms(services: &Services, attention: &mut Attention<'_>) -> AlarmsStatus {
    let state = services.alarms.borrow().clone();
    for look in &state.looks {
        let what = match look.what {
            AlarmWhat::Neighbourhood => "network".to_owned(),
            _ => format!("faces {}", look.subject),
        };
        attention.look(what, look);
    }
    let standing = state.standing.into_iter().map(|alarm| AlarmStatus {
        what: alarm.what,
        since: services.origin.time(wall(alarm.wall_ms)),
        subject: alarm.subject,
        detail: alarm.detail,
    });
    AlarmsStatus { raised: state.raised, standing: standing.collect() }
}

fn disk(services: &Services, attention: &mut Attention<'_>) -> DiskStatus {
    let dir = &services.storage_dir;
    let state = services.store.state();
    let failing =
        state.failing.map(|error| Failing { since: attention.since(state.failing_since), error });
    let mut disk = DiskStatus {
        dir: dir.clone(),
        free_bytes: None,
        total_bytes: None,
        database_bytes: std::fs::metadata(services.store.path()).map(|m| m.len()).ok(),
        room: state.room,
        reserve_bytes: state.reserve_bytes,
        commits: state.commits,
        failures: state.failures,
        failing,
        last_error: state.last_error,
        unrecorded: state.unrecorded,
        photos_refused: state.photos_refused,
        slowest_commit_ms: milliseconds(state.slowest.get(attention.now)),
        set_aside: store::all_set_aside(dir),
    };
    disk_troubles(&disk, attention);
    match store::space(dir) {
        Ok((free, total)) => {
            disk.free_bytes = Some(free);
            disk.total_bytes = Some(total);
            if free < DISK_LOW_BYTES && disk.room == Room::Ample {
                let remedy = format!("{} MiB are left in {}: make room", free >> 20, dir.display());
                attention.add("disk", services.started, remedy);
            }
        }
        Err(error) => {
            attention.add("disk", services.started, format!("{}: {error}", dir.display()));
        }
    }
    disk
}

fn milliseconds(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// What the store says of its disk.
fn disk_troubles(disk: &DiskStatus, attention: &mut Attention<'_>) {
    let (services, dir) = (attention.services, disk.dir.display());
    let state = services.store.state();
    if let Some(Failing { error, .. }) = &disk.failing {
        let remedy = format!(
            "{dir} takes nothing in ({error}), so nobody is let through: make room, or see to the \
             disk; it is tried again every second"
        );
        attention.add("disk", state.failing_since, remedy);
    } else if disk.room > Room::Ample {
        let given_up = match disk.room {
            Room::Ample | Room::Low => "denials are not recorded",
            Room::Scarce => {
                "denials are not recorded, photos of passages not kept, and nobody can be enrolled"
            }
            Room::Full => "nothing but attendance is recorded, for as long as the reserve lasts",
        };
        let free = state.free_bytes >> 20;
        let remedy = format!("{free} MiB are left in {dir}: {given_up}; make room");
        attention.add("disk", services.started, remedy);
    }
    if disk.slowest_commit_ms >= SLOW_COMMIT_MS {
        let remedy = format!(
            "a commit to {dir} took {} ms: workers wait at the gate, and what takes longer than 3 s \
             opens none; replace the card or disk",
            disk.slowest_commit_ms
        );
        attention.add("disk", attention.now, remedy);
    }
    if let Some(newest) = disk.set_aside.last() {
        let remedy = format!(
            "{} was found damaged ({}) and set aside; what was recorded until then is in it alone, \
             where it had not gone upstream: copy it to a safe place, then remove it here",
            newest.display(),
            store::why_set_aside(newest)
        );
        attention.add("database", services.started, remedy);
    }
    let audit = services.audit.borrow().clone();
    if let Some(first) = audit.first {
        let remedy = format!(
            "{} unreadable or altered, the first is number {first}: copy the database to a safe \
             place before anything else; the rest goes on",
            crate::figures::counted(audit.entries, "entry")
        );
        attention.add("ledger", services.started, remedy);
    }
}

fn stages(services: &Services) -> Vec<StageStatus> {
    let stages = &services.stages;
    let named = [
        ("glance", &stages.glance),
        ("decode", &stages.decode),
        ("detect", &stages.detect),
        ("embed", &stages.embed),
        ("match", &stages.matching),
        ("decision", &stages.decision),
        ("release", &stages.release),
        ("commit", services.store.commit_times()),
    ];
    named.map(|(name, histogram)| StageStatus::new(name, histogram.spread())).into()
}

fn process() -> ProcessStatus {
    // "VmRSS:     51234 kB"
    let account = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = account.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    // One of them is this look at the folder.
    let open = std::fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count().saturating_sub(1));
    ProcessStatus {
        resident_bytes: kib.map(|kib| kib.saturating_mul(1024)),
        open_fds: open.and_then(|count| u64::try_from(count).ok()),
    }
}
