//! The daemon's state in one document, and what of it needs somebody's attention (I6).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::services::Services;
use crate::{
    clock::Monotonic,
    ledger::{self, LedgerError},
};

/// Rows older than this are an alarm, whatever the link says.
const OUTBOX_OLD: Duration = Duration::from_secs(15 * 60);
/// Below this a full disk is near.
const DISK_LOW_BYTES: u64 = 200 * 1024 * 1024;

/// For so long after a lane was begun anew, its fault is shown.
const FAULT_SHOWN: Duration = Duration::from_secs(10 * 60);

/// `gatehouse status --json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub gateway: String,
    pub project: String,
    pub started_at: String,
    pub lanes: Vec<Value>,
    pub roster: Value,
    pub ledger: Value,
    pub upstreams: Vec<Value>,
    pub clock: Value,
    pub disk: Value,
    pub degraded: Vec<Degraded>,
}

/// Something that does not work as configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degraded {
    pub what: String,
    pub since: String,
    pub remedy: String,
}

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
}

pub(super) async fn status(services: &Services) -> Result<Status, LedgerError> {
    let now = services.clock.monotonic();
    let mut attention = Attention { services, now, found: Vec::new() };
    let lanes = lanes(services, &mut attention);
    let names: Vec<String> = services.upstreams.iter().map(|u| u.borrow().name.clone()).collect();
    let (size, backlogs) = services
        .store
        .read(move |tx| {
            let backlogs: Result<Vec<_>, LedgerError> =
                names.iter().map(|name| ledger::backlog(tx, name)).collect();
            Ok::<_, LedgerError>((ledger::size(tx)?, backlogs?))
        })
        .await?;
    let upstreams = upstreams(services, &backlogs, &mut attention);
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
    let roster = services.roster.borrow().clone();
    Ok(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        gateway: services.origin.gateway.clone(),
        project: services.origin.project.clone(),
        started_at: attention.since(services.started),
        lanes,
        roster: json!({
            "workers": roster.workers().len(),
            "templates": roster.templates(),
            "version": roster.version(),
        }),
        ledger: json!({ "id": services.ledger.id.to_string(), "size": size }),
        upstreams,
        clock: json!({
            "synced": stamp.synced,
            "now": services.origin.time(stamp.timestamp()),
            "boot": stamp.boot.to_string(),
            "uptime_ms": stamp.uptime_ms,
        }),
        disk,
        degraded: attention.found,
    })
}

fn lanes(services: &Services, attention: &mut Attention<'_>) -> Vec<Value> {
    let now = attention.now;
    let mut lanes = Vec::new();
    for lane in &services.lanes {
        let mut cameras = Vec::new();
        for camera in &lane.cameras {
            let state = camera.state.borrow().clone();
            let what = format!("camera {}/{}", lane.name, camera.direction);
            let error = state.last_error.clone().unwrap_or_default();
            let quiet = now.since(state.last_frame.unwrap_or(state.since).max(state.since));
            if !state.connected && !state.finished {
                attention.add(what, state.since, format!("{}: {error}", camera.source));
            } else if state.connected && quiet > camera.stalled_after {
                attention.add(
                    what,
                    state.last_frame.unwrap_or(state.since),
                    format!("{} is open but sends no frames: see to the camera", camera.source),
                );
            }
            let seen = camera.seen.counts();
            if seen.failed > 0 {
                let remedy = format!("a model failed on {} frames; see the log", seen.failed);
                attention.add(
                    format!("vision {}/{}", lane.name, camera.direction),
                    services.started,
                    remedy,
                );
            }
            let mut shown = json!(state);
            merge(&mut shown, json!(seen));
            merge(&mut shown, json!({ "direction": camera.direction, "source": camera.source }));
            cameras.push(shown);
        }
        let turnstile = lane.turnstile.borrow().clone();
        if !turnstile.connected {
            let error = turnstile.last_error.clone().unwrap_or_else(|| "connecting".to_owned());
            attention.add(format!("turnstile {}", lane.name), turnstile.since, error);
        }
        if turnstile.lost_events > 0 {
            let remedy =
                format!("{} of its events came too fast and are lost", turnstile.lost_events);
            attention.add(format!("turnstile {}", lane.name), turnstile.since, remedy);
        }
        let gate = lane.state.borrow().clone();
        if let Some(since) = gate.failing_since {
            let error = gate.last_error.clone().unwrap_or_default();
            let remedy = format!("nothing can be recorded, so nobody is let through: {error}");
            attention.add(format!("lane {}", lane.name), since, remedy);
        }
        if let Some((at, fault)) = &gate.fault
            && now.since(*at) < FAULT_SHOWN
        {
            let remedy = format!("restarted {} times: {fault}", gate.restarts);
            attention.add(format!("lane {}", lane.name), *at, remedy);
        }
        let mut shown = json!({
            "name": lane.name, "mode": "normal", "cameras": cameras, "turnstile": turnstile,
        });
        merge(&mut shown, json!(gate));
        lanes.push(shown);
    }
    lanes
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

fn upstreams(
    services: &Services,
    backlogs: &[(u64, Option<i64>)],
    attention: &mut Attention<'_>,
) -> Vec<Value> {
    let wall_ms = services.clock.stamp().wall_ms;
    let mut upstreams = Vec::new();
    for (upstream, (rows, oldest)) in services.upstreams.iter().zip(backlogs) {
        let state = upstream.borrow().clone();
        let oldest_s = oldest.map(|at| (wall_ms - at).max(0) / 1000);
        let what = format!("upstream {}", state.name);
        if !state.connected {
            let error = state.last_error.clone().unwrap_or_else(|| "connecting".to_owned());
            let remedy = format!(
                "{error}; see to the link and the broker: it is tried again every 30 s at most, and \
                 what waits ({rows} records) is sent then"
            );
            attention.add(what, state.since, remedy);
        } else if oldest_s.is_some_and(|s| s > OUTBOX_OLD.as_secs().cast_signed()) {
            let remedy = format!(
                "{rows} records wait though the broker is connected; where their number does not \
                 fall, ask its operator"
            );
            attention.add(what, state.since, remedy);
        }
        let mut shown = json!(state);
        merge(&mut shown, json!({ "outbox": rows, "oldest_s": oldest_s }));
        upstreams.push(shown);
    }
    upstreams
}

fn disk(services: &Services, attention: &mut Attention<'_>) -> Value {
    let dir = &services.storage_dir;
    let fs = match nix::sys::statvfs::statvfs(dir) {
        Ok(fs) => fs,
        Err(error) => {
            attention.add("disk", services.started, format!("{}: {error}", dir.display()));
            return json!({ "dir": dir, "free_bytes": null });
        }
    };
    let free = fs.blocks_available().saturating_mul(fs.fragment_size());
    if free < DISK_LOW_BYTES {
        let remedy = format!("{} MiB are left in {}: make room", free >> 20, dir.display());
        attention.add("disk", services.started, remedy);
    }
    let database = std::fs::metadata(services.store.path()).map(|m| m.len()).ok();
    json!({
        "dir": dir,
        "free_bytes": free,
        "total_bytes": fs.blocks().saturating_mul(fs.fragment_size()),
        "database_bytes": database,
    })
}
