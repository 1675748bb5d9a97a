//! Collects the state of each part of the daemon, and the parts that need attention.
//!
//! In: the daemon's [`Services`]. Out: the [`Status`]. It reads the database and `/proc`, and
//! changes nothing.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    AlarmStatus, AlarmsStatus, CameraStatus, ClockStatus, Degraded, LaneStatus, LedgerStatus,
    ProcessStatus, ReaderStatus, RosterStatus, StageStatus, Status, UpstreamStatus, VisionStatus,
    attention::Attention,
    deletion::deletions,
    disk::disk,
    part::Part,
    remedy::Remedy,
    swap,
    troubles::{self, Backlog},
};
use crate::{
    alarms::PartState,
    clock::Monotonic,
    config::{Direction, Threshold},
    gate::lane::LivenessShown,
    ledger::{self, AlarmWhat, LaneMode, LedgerError},
    memory::locked,
    roster::WaitsWhat,
    services::{CameraPanel, LanePanel, ReaderPanel, Services},
    uplink::Without,
};

/// Time for which a failed commit of a lane is shown. While the disk fails, it is shown longer.
const COMMIT_FAILED: Duration = Duration::from_secs(10);
/// Time for which the latest unreadable frame of a reader is shown.
const UNREADABLE_SHOWN: Duration = Duration::from_secs(60);
/// Time for which a fault is shown after the lane or the link was restarted.
const FAULT_SHOWN: Duration = Duration::from_secs(10 * 60);

/// Returns the state of each part, with the parts that need attention.
pub async fn gather(services: &Services) -> Status {
    let now = services.clock.monotonic();
    let mut attention = Attention::new(services, now);
    let lanes = services.lanes.iter().map(|panel| lane(panel, &mut attention)).collect();
    let (size, pruned_before, drains, backlogs) = match kept(services).await {
        Ok(((size, pruned, drains), backlogs)) => {
            (Some(size), Some(pruned), drains, Some(backlogs))
        }
        Err(error) => {
            attention.add(Part::Ledger, now, Remedy::LedgerUnread { error: error.to_string() });
            (None, None, true, None)
        }
    };
    let upstreams = upstreams(services, backlogs.as_deref(), &mut attention);
    let alarms = alarms(services, &mut attention);
    let stamp = services.clock.stamp();
    if !stamp.synced {
        attention.add(
            Part::Clock,
            services.started,
            Remedy::ClockNotSynchronised {
                last: services
                    .last_trusted
                    .ms()
                    .and_then(|ms| Timestamp::from_millisecond(ms).ok()),
            },
        );
    }
    if services.undated > 0 {
        let remedy = Remedy::Undated { records: services.undated };
        attention.add(Part::Ledger, services.started, remedy);
    }
    for late in services.beats.late() {
        attention.add(Part::Named(late.part), late.since, Remedy::NoProgress);
    }
    let vision = vision(services, &mut attention);
    let disk = disk(services, drains, &mut attention);
    let deletions = deletions(&mut attention);
    if let Some(down) = &*services.exporter.borrow() {
        attention.add(Part::Metrics, down.since, down.error.clone());
    }
    let doubt =
        PartState::new(AlarmWhat::Roster, &services.origin.gateway, troubles::roster(services));
    attention.look(Part::Roster, &doubt);
    let roster = services.roster.borrow().clone();
    if roster.damaged > 0 {
        let remedy = Remedy::RosterDamaged { values: roster.damaged };
        attention.add(Part::Roster, services.started, remedy);
    }
    let in_force = services.threshold.in_force(roster.confirmed_templates());
    if let Some(strangers) = services.threshold.too_low(roster.confirmed_templates()) {
        let templates = roster.confirmed_templates();
        let remedy = Remedy::ThresholdLow { fixed: in_force, templates, strangers };
        attention.add(Part::Recognition, services.started, remedy);
    }
    let process = process(services, &mut attention);
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        gateway: services.origin.gateway.clone(),
        project: services.origin.project.clone(),
        config_sha256: hex::encode(services.config_sha256),
        started_at: attention.since(services.started),
        lanes,
        roster: RosterStatus {
            workers: roster.workers().len(),
            templates: roster.templates(),
            pending: roster.waiting(WaitsWhat::Worker),
            faces_waiting: roster.waiting(WaitsWhat::Faces),
            liveness_exempt: roster
                .workers()
                .iter()
                .filter(|w| w.liveness_exempt.is_some())
                .count(),
            version: roster.version(),
            threshold: (f64::from(in_force.cosine()) * 1e4).round() / 1e4,
            threshold_fixed: matches!(services.threshold, Threshold::Fixed(_)),
        },
        ledger: LedgerStatus {
            id: services.ledger.id.to_string(),
            size,
            pruned_before,
            kept_until: services.retention.kept_until(),
            undated: services.undated,
        },
        upstreams,
        photos: services.photo_store.state(),
        clock: ClockStatus {
            synced: stamp.synced,
            now: services.origin.time(stamp.timestamp()),
            boot: stamp.boot.to_string(),
            uptime_ms: stamp.uptime_ms,
        },
        deletions,
        disk,
        alarms,
        stages: stages(services),
        vision,
        process,
        degraded: attention.found,
    }
}

/// Reads the ledger's size, the first entry that was not pruned, whether records of a database that
/// was set aside still wait, and each upstream's outbox.
async fn kept(services: &Services) -> Result<((u64, u64, bool), Vec<Backlog>), LedgerError> {
    let (dir, upstreams) = (services.storage_dir.clone(), services.ledger.clone());
    let read = services.store.read(move |tx| {
        let upstreams: Vec<_> = upstreams.upstreams().map(str::to_owned).collect();
        let drains = ledger::still_drains(tx, &dir, &upstreams)?;
        Ok::<_, LedgerError>((ledger::size(tx)?, ledger::pruned_before(tx)?, drains))
    });
    Ok((read.await?, troubles::backlogs(services).await?))
}

fn lane(lane: &LanePanel, attention: &mut Attention<'_>) -> LaneStatus {
    let cameras: Vec<_> = lane.cameras.iter().map(|c| camera(lane, c, attention)).collect();
    let readers = lane.readers.iter().map(|r| reader(r, attention)).collect();
    let turnstile = lane.turnstile.borrow().clone();
    if let Some(trouble) = troubles::turnstile(&turnstile) {
        attention.trouble(Part::Turnstile(lane.name.clone()), trouble);
    }
    for direction in Direction::BOTH {
        if let Some(trouble) = troubles::passage_sensor(lane, direction) {
            let part = Part::PassageSensor(troubles::side_name(lane, direction));
            attention.trouble(part, trouble);
        }
    }
    for look in troubles::foreign(&lane.name, &turnstile) {
        attention.look(Part::Turnstile(lane.name.clone()), &look);
    }
    if turnstile.lost_events > 0 {
        let remedy = Remedy::EventsLost { events: turnstile.lost_events };
        attention.add(Part::Turnstile(lane.name.clone()), turnstile.since, remedy);
    }
    let gate = lane.state.borrow().clone();
    // If no worker has come since the failure, only the store knows that the disk works again.
    let fails = attention.services.store.state().failing.is_some();
    let recent = |last: Monotonic| attention.now.since(last) < COMMIT_FAILED;
    let failing = gate.failing.filter(|(_, last)| fails || recent(*last));
    if let Some((since, _)) = failing {
        let remedy = Remedy::NotRecorded { error: gate.last_error.as_deref().unwrap_or_default() };
        attention.add(Part::Lane(lane.name.clone()), since, remedy);
    }
    if let Some((at, fault)) = &gate.fault
        && attention.now.since(*at) < FAULT_SHOWN
    {
        let remedy = Remedy::LaneRestarted { restarts: gate.restarts, fault };
        attention.add(Part::Lane(lane.name.clone()), *at, remedy);
    }
    let zone = |at_ms| Timestamp::from_millisecond(at_ms).ok();
    let mode_since =
        |at_ms: Option<i64>| at_ms.and_then(zone).map(|at| attention.services.origin.time(at));
    if gate.mode.mode != LaneMode::Normal {
        let since = mode_since(gate.mode.at_ms).unwrap_or_default();
        let lanes = &attention.services.lanes;
        let fire = lanes.iter().any(|lane| lane.turnstile.borrow().fire == Some(true));
        let what = match gate.mode.mode {
            LaneMode::Free if gate.mode.by.is_none() && !fire => {
                "the lane is free, and there is no fire sign any more: make sure that there is no fire"
            }
            LaneMode::Free => "the lane is open to all people",
            _ => "no worker can enter",
        };
        let remedy = format!(
            "{what} ({}): to end this, run `gatehouse lane mode {} normal --reason …`",
            gate.mode.reason, lane.name
        );
        attention.found.push(Degraded { what: Part::Lane(lane.name.clone()), since, remedy });
    }
    if gate.mode.mode == LaneMode::Free && !turnstile.held_open {
        attention.add(Part::Turnstile(lane.name.clone()), turnstile.since, Remedy::NotOpen);
    }
    if gate.mode.mode != LaneMode::Free && turnstile.held_open {
        attention.add(Part::Turnstile(lane.name.clone()), turnstile.since, Remedy::StandsOpen);
    }
    if turnstile.fire == Some(true) {
        attention.add(Part::FireAlarm(lane.name.clone()), turnstile.since, Remedy::FireAlarm);
    }
    for look in troubles::fire_input(lane, attention.now) {
        attention.look(Part::FireInput(lane.name.clone()), &look);
    }
    let seeing = cameras.iter().all(|camera| camera.state.connected && !camera.stalled);
    let in_time = cameras.is_empty() || !attention.services.capacity.misses_decisions();
    LaneStatus {
        name: lane.name.clone(),
        mode: gate.mode.mode,
        mode_reason: gate.mode.at_ms.map(|_| gate.mode.reason.clone()),
        mode_by: gate.mode.by.clone(),
        mode_since: mode_since(gate.mode.at_ms),
        ready: turnstile.connected
            && seeing
            && troubles::reads(lane)
            && in_time
            && failing.is_none()
            && !fails,
        cameras,
        readers,
        turnstile,
        gate,
    }
}

fn reader(reader: &ReaderPanel, attention: &mut Attention<'_>) -> ReaderStatus {
    let state = reader.state.borrow().clone();
    let part = || Part::Reader(reader.name.clone());
    if let Some(trouble) = troubles::reader(&state) {
        attention.trouble(part(), trouble);
    } else if let Some((what, at)) = &state.last_unreadable
        && attention.now.since(*at) < UNREADABLE_SHOWN
    {
        attention.add(part(), *at, Remedy::Unreadable { times: state.unreadable, what });
    }
    ReaderStatus {
        name: reader.name.clone(),
        direction: reader.direction,
        driver: reader.driver,
        connected: state.connected,
        error: state.error,
        read: state.read,
        unreadable: state.unreadable,
        last_unreadable: state.last_unreadable.map(|(what, _)| what),
        dropped: state.dropped,
    }
}

fn camera(lane: &LanePanel, camera: &CameraPanel, attention: &mut Attention<'_>) -> CameraStatus {
    let state = camera.state.borrow().clone();
    let stalled = troubles::stalled(camera, &state, attention.now);
    if let Some(trouble) = troubles::camera(camera, &state, attention.now) {
        attention.trouble(Part::Camera(troubles::camera_name(lane, camera)), trouble);
    }
    if let Some(trouble) = troubles::replay_over(&camera.source, &state) {
        attention.trouble(Part::Camera(troubles::camera_name(lane, camera)), trouble);
    }
    if let Some(trouble) = troubles::dark(camera) {
        attention.trouble(Part::Camera(troubles::camera_name(lane, camera)), trouble);
    }
    let limit = attention.services.alarm_limits.undecided;
    let undecided = troubles::undecided(lane, camera, attention.now, limit);
    if let Some(trouble) = undecided.or_else(|| troubles::aside(camera, attention.now, limit)) {
        attention.trouble(Part::Camera(troubles::camera_name(lane, camera)), trouble);
    }
    if let Some(trouble) = troubles::fallback(lane, camera) {
        attention.trouble(Part::Camera(troubles::camera_name(lane, camera)), trouble);
    }
    let seen = camera.seen.counts();
    if seen.failed > 0 {
        let remedy = Remedy::ModelFailed { frames: seen.failed };
        let started = attention.services.started;
        attention.add(Part::Vision(troubles::camera_name(lane, camera)), started, remedy);
    }
    CameraStatus {
        direction: camera.direction,
        source: camera.source.clone(),
        stalled,
        lent: camera.slot.lent(),
        state,
        seen,
        liveness: liveness(lane, camera),
    }
}

fn liveness(lane: &LanePanel, camera: &CameraPanel) -> Option<LivenessShown> {
    let state = lane.state.borrow();
    let shown = state.liveness[camera.direction.index()]?;
    let fallback = state.fallback.is_some() && shown.guard.is_some();
    Some(LivenessShown { fallback, ..shown })
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
        let age_s = |at| i64::try_from(now.since(at).as_secs()).unwrap_or(i64::MAX);
        let what = Part::Upstream(link.name.clone());
        // A link that is down already says that records wait.
        let old = |backlog| troubles::outbox(&link, backlog, now, &services.alarm_limits);
        let trouble =
            troubles::link(&link, backlog, attention.now).or_else(|| backlog.and_then(old));
        if let Some(trouble) = trouble {
            attention.trouble(what.clone(), trouble);
        }
        if let Some(reason) = &link.not_subscribed {
            attention.add(what.clone(), link.since, Remedy::NotSubscribed { reason });
        }
        for Without { what: part, why, since } in &link.without {
            attention.add(what.clone(), *since, Remedy::Without { what: part, why });
        }
        for Without { what: session, why, since } in &link.sessions_down {
            attention.add(what.clone(), *since, Remedy::SessionDown { session, why });
        }
        if link.withheld > 0 {
            let records = link.withheld;
            attention.add(what.clone(), link.since, Remedy::Withheld { records });
        }
        if link.refused_rows > 0 {
            let (records, upstream) = (link.refused_rows, &*link.name);
            attention.add(what.clone(), link.since, Remedy::RefusedRows { records, upstream });
        }
        if let Some(problem) = &link.command_key_error {
            attention.add(what.clone(), link.since, Remedy::NoCommandKey { problem });
        }
        let carried_out = services.commands.of(&link.name);
        if let Some((at, code)) = carried_out.last_unauthorised
            && attention.now.since(at) < FAULT_SHOWN
        {
            let count = carried_out.commands_unauthorised;
            let peer = if link.is_platform() { "platform" } else { "broker" };
            attention.add(what.clone(), at, Remedy::Unauthorised { count, code, peer });
        }
        if let Some(trouble) = &link.last_trouble
            && attention.now.since(link.troubled_at) < FAULT_SHOWN
        {
            attention.add(what, link.troubled_at, trouble.clone());
        }
        let certificates = troubles::certificates(&link, now, services.started);
        for of_one in certificates.chunk_by(|(whose, _), (next, _)| whose == next) {
            // For a certificate that has ended, the warning that it ends soon is not shown too.
            let worst = of_one.iter().rfind(|(_, look)| look.trouble().is_some());
            if let Some((whose, look)) = worst {
                let (upstream, whose) = (link.name.clone(), *whose);
                attention.look(Part::Certificate { upstream, whose }, look);
            }
        }
        upstreams.push(UpstreamStatus {
            link,
            outbox: backlog.map(|(rows, _)| rows),
            oldest_s: oldest.map(age_s),
            carried_out,
        });
    }
    upstreams
}

/// Returns the alarms, and adds the troubles that only the alarms' task knows.
fn alarms(services: &Services, attention: &mut Attention<'_>) -> AlarmsStatus {
    let state = services.alarms.borrow().clone();
    for look in &state.looks {
        let what = match look.what {
            AlarmWhat::Neighbourhood => Part::Network,
            _ => Part::Faces(look.subject.clone()),
        };
        attention.look(what, look);
    }
    let standing = state.standing.into_iter().map(|alarm| AlarmStatus {
        what: alarm.what,
        since: services.origin.time(alarm.raised.timestamp()),
        subject: alarm.subject,
        detail: alarm.detail.to_string(),
    });
    AlarmsStatus { raised: state.raised, standing: standing.collect() }
}

fn vision(services: &Services, attention: &mut Attention<'_>) -> VisionStatus {
    let capacity = &services.capacity;
    if let Some((since, remedy)) = capacity.slow_since().zip(capacity.too_slow()) {
        attention.add(Part::Named("vision".to_owned()), since, remedy);
    }
    let look = capacity.look();
    VisionStatus {
        look_ms: look.and_then(|look| u64::try_from(look.as_millis()).ok()),
        workers: capacity.workers,
        cameras: capacity.cameras,
        carries: look.map(|look| capacity.carries(look)),
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

fn process(services: &Services, attention: &mut Attention<'_>) -> ProcessStatus {
    // The line is "VmRSS:     51234 kB".
    let account = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bytes = |name: &str| {
        let rest = account.lines().find_map(|line| line.strip_prefix(name))?;
        let kib = rest.split_whitespace().next()?.parse::<u64>().ok()?;
        Some(kib.saturating_mul(1024))
    };
    let unlocked = locked::unlocked_bytes();
    if unlocked > 0 && swap::may_swap() {
        let remedy = Remedy::Unlocked { kib: unlocked.div_ceil(1024) };
        attention.add(Part::Named("memory".to_owned()), services.started, remedy);
    }
    // One of the descriptors is for reading this folder.
    let open = std::fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count().saturating_sub(1));
    ProcessStatus {
        resident_bytes: bytes("VmRSS:"),
        locked_bytes: bytes("VmLck:"),
        unlocked_bytes: unlocked,
        open_fds: open.and_then(|count| u64::try_from(count).ok()),
    }
}
