//! The state of the storage folder, its database and its disk.

use std::time::Duration;

use super::{DiskStatus, Failing, attention::Attention, part::Part, remedy::Remedy};
use crate::{
    services::Services,
    store::{self, RESERVE, Room},
};

/// Free space below which the disk needs attention.
const DISK_LOW_BYTES: u64 = 200 * 1024 * 1024;
/// Duration from which on a commit delays workers at the gate.
const SLOW_COMMIT_MS: u64 = 1000;

/// Returns the state of the storage folder, and adds what needs attention. `drains`: records of a
/// database that was set aside still wait.
pub(super) fn disk(services: &Services, drains: bool, attention: &mut Attention<'_>) -> DiskStatus {
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
    disk_troubles(&disk, drains, attention);
    match store::space(dir) {
        Ok((free, total)) => {
            disk.free_bytes = Some(free);
            disk.total_bytes = Some(total);
            if free < DISK_LOW_BYTES && disk.room == Room::Ample {
                let remedy = Remedy::DiskLow { dir, free_mib: free >> 20 };
                attention.add(Part::Disk, services.started, remedy);
            }
        }
        Err(error) => {
            let remedy = Remedy::FolderUnread { dir, error: error.to_string() };
            attention.add(Part::Disk, services.started, remedy);
        }
    }
    disk
}

fn milliseconds(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// Adds the troubles of the disk, the database and the ledger.
fn disk_troubles(disk: &DiskStatus, drains: bool, attention: &mut Attention<'_>) {
    let (services, dir) = (attention.services, &*disk.dir);
    let state = services.store.state();
    if let Some(Failing { error, .. }) = &disk.failing {
        attention.add(Part::Disk, state.failing_since, Remedy::DiskFails { dir, error });
    } else if disk.room > Room::Ample {
        let remedy = Remedy::Room { dir, free_mib: state.free_bytes >> 20, room: disk.room };
        attention.add(Part::Disk, services.started, remedy);
    }
    if disk.reserve_bytes < RESERVE && disk.room < Room::Full {
        let remedy = Remedy::NoReserve { dir, bytes: disk.reserve_bytes };
        attention.add(Part::Disk, services.started, remedy);
    }
    if disk.slowest_commit_ms >= SLOW_COMMIT_MS {
        let remedy = Remedy::SlowCommit { dir, ms: disk.slowest_commit_ms };
        attention.add(Part::Disk, attention.now, remedy);
    }
    if let Some(newest) = disk.set_aside.last() {
        let remedy = Remedy::SetAside { place: newest, why: store::why_set_aside(newest), drains };
        attention.add(Part::Database, services.started, remedy);
    }
    let audit = services.audit.borrow().clone();
    if let Some(first) = audit.first {
        let remedy = Remedy::LedgerDamaged { entries: audit.entries, first };
        attention.add(Part::Ledger, services.started, remedy);
    }
    let heads = services.heads.borrow().clone();
    if let Some(size) = heads.broken {
        attention.add(Part::Ledger, services.started, Remedy::LedgerBroken { size });
    }
    if let Some(before) = &heads.replaced {
        let remedy = Remedy::SigningKeyReplaced { before: hex::encode(before.fingerprint()) };
        attention.add(Part::Ledger, services.started, remedy);
    }
    if let Some(problem) = &heads.problem {
        attention.add(Part::Ledger, services.started, Remedy::LedgerUnsigned { problem });
    }
}
