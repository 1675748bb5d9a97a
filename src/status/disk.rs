//! The state of the storage folder, its database and its disk.

use std::time::Duration;

use super::{DiskStatus, Failing, attention::Attention, part::Part};
use crate::{
    services::Services,
    store::{self, Room},
    words::counted,
};

/// Free space below which the disk needs attention.
const DISK_LOW_BYTES: u64 = 200 * 1024 * 1024;
/// Duration from which on a commit delays workers at the gate.
const SLOW_COMMIT_MS: u64 = 1000;

/// Returns the state of the storage folder, and adds what needs attention.
pub(super) fn disk(services: &Services, attention: &mut Attention<'_>) -> DiskStatus {
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
                attention.add(Part::Disk, services.started, remedy);
            }
        }
        Err(error) => {
            attention.add(Part::Disk, services.started, format!("{}: {error}", dir.display()));
        }
    }
    disk
}

fn milliseconds(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// Adds the troubles of the disk, the database and the ledger.
fn disk_troubles(disk: &DiskStatus, attention: &mut Attention<'_>) {
    let (services, dir) = (attention.services, disk.dir.display());
    let state = services.store.state();
    if let Some(Failing { error, .. }) = &disk.failing {
        let remedy = format!(
            "{dir} cannot be written ({error}), so no worker can pass: make room, or check the disk; \
             Gatehouse tries again every second"
        );
        attention.add(Part::Disk, state.failing_since, remedy);
    } else if disk.room > Room::Ample {
        let given_up = match disk.room {
            Room::Ample | Room::Low => "denials are not recorded",
            Room::Scarce => {
                "denials are not recorded, photos of passages are not kept, and no worker can be enrolled"
            }
            Room::Full => "only attendance is recorded, and only until the reserve is used up",
        };
        let free = state.free_bytes >> 20;
        let remedy = format!("{free} MiB are left in {dir}: {given_up}; make room");
        attention.add(Part::Disk, services.started, remedy);
    }
    if disk.slowest_commit_ms >= SLOW_COMMIT_MS {
        let remedy = format!(
            "a commit to {dir} took {} ms: workers wait at the gate, and after more than 3 s the gate \
             does not open; replace the card or disk",
            disk.slowest_commit_ms
        );
        attention.add(Part::Disk, attention.now, remedy);
    }
    if let Some(newest) = disk.set_aside.last() {
        let remedy = format!(
            "{} holds a database that was damaged ({}) and set aside. Only it has the earlier records \
             that were not sent upstream: copy it to a safe place, then remove it here",
            newest.display(),
            store::why_set_aside(newest)
        );
        attention.add(Part::Database, services.started, remedy);
    }
    let audit = services.audit.borrow().clone();
    if let Some(first) = audit.first {
        let remedy = format!(
            "{} unreadable or altered, the first is number {first}: first copy the database to a safe \
             place; the gate continues to work",
            counted(audit.entries, "entry")
        );
        attention.add(Part::Ledger, services.started, remedy);
    }
}
