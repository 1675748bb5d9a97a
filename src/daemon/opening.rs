//! The first transaction of a start: opens the ledger and loads the roster and the stored states.

use std::{collections::HashMap, path::Path};

use rusqlite::Transaction;

use super::alarms;
use crate::{
    clock::{ClockWatch, LastTrusted, Stamp},
    commands,
    config::{Config, Direction, Photos},
    failpoint,
    gate::{
        lane::{self, LivenessShown, ModeState},
        passage::Health,
    },
    ledger::{
        self, Boot, ConfigChange, Dates, Detail, Gap, Ledger, LedgerId, SigningKeyChange, Successor,
    },
    roster::{self, CarriedOver, Roster},
    services::Failure,
    store::{self, Predecessor, Priority, PublicKey, Store, StoreError, photo_store},
};

/// The ledger, the roster, the gateway's id and the stored states after the store is open.
pub(super) struct Opened {
    pub(super) ledger: Ledger,
    pub(super) gateway: String,
    pub(super) roster: Roster,
    pub(super) clock: ClockWatch,
    pub(super) last_trusted: LastTrusted,
    /// The stored state of each lane.
    pub(super) lanes: HashMap<String, KeptLane>,
    pub(super) alarms: alarms::Kept,
    /// Whether the roster is in doubt.
    pub(super) roster_stale: bool,
    /// The number of records without a date.
    pub(super) undated: u64,
    /// The signing key in whose place the present one came, without its endorsement.
    pub(super) replaced_key: Option<PublicKey>,
}

/// What the database has of a lane: its mode, the health of its passage sensors, and what is known of
/// the living faces on each side.
#[derive(Clone, Default)]
pub(super) struct KeptLane {
    pub(super) mode: ModeState,
    pub(super) sensors: [Health; 2],
    pub(super) liveness: [LivenessShown; 2],
}

/// Runs one transaction: succeeds a ledger that was set aside, goes on after a lost end, closes the
/// passages that a crash left open, and records this start and a changed configuration.
pub(super) async fn open(
    store: &Store,
    config: &Config,
    stamp: Stamp,
    model: &str,
    key: PublicKey,
) -> Result<Opened, Failure> {
    let upstreams = config.upstreams.iter().map(|u| u.name.clone()).collect();
    let with_photos = config.upstreams.iter().filter(|u| u.photos == Photos::Record);
    let with_photos: Vec<_> = with_photos.map(|u| u.name.clone()).collect();
    let (configured, sha256) = (config.site.gateway_id.clone(), config.sha256);
    let (sealer, model) = (store.sealer().clone(), model.to_owned());
    let (dir, recognition) = (config.storage.dir.clone(), config.recognition);
    let lanes: Vec<_> = config.lanes.iter().map(|lane| lane.name.clone()).collect();
    store
        .write(Priority::Attendance, move |tx| {
            let ledger = Ledger::open(tx, upstreams)?;
            ledger::keep_photos_of(tx, &with_photos)?;
            let mut gap = ledger::gap_at_start(tx, stamp)?;
            if let Some(old) = store::predecessor(tx, &dir)? {
                succeed(tx, &ledger, stamp, &sealer, &lanes, &old, &dir)?;
                let last = old.database.and_then(|old| ledger::last_stamp(&old).ok().flatten());
                gap = last.and_then(|last| Gap::at_start(last, false, stamp));
            }
            if let Some(mark) = store::lost_end(tx, &dir)? {
                let lost = ledger.lose(tx, stamp, mark)?;
                tracing::error!(lost = ?lost.entry.body, "the database has lost its end: the ledger goes on with a later seq");
                roster::doubt(tx, lost.entry.index)?;
            }
            store::count_start(tx)?;
            let interrupted = ledger.close_interrupted(tx, stamp, None)?;
            if interrupted > 0 {
                tracing::warn!(interrupted, "closed passages without an outcome as unconfirmed");
            }
            let version = env!("CARGO_PKG_VERSION").to_owned();
            ledger.append(tx, stamp, Boot { version })?;
            if let Some(gap) = gap {
                tracing::warn!(?gap, "nothing was recorded before this start");
                ledger.append(tx, stamp, gap)?;
            }
            if store::meta(tx, "config_sha256")?.as_deref() != Some(&sha256[..]) {
                ledger.append(tx, stamp, ConfigChange { config_sha256: sha256 })?;
                store::set_meta(tx, "config_sha256", &sha256)?;
            }
            if let Some(change) = key_change(tx, key)? {
                ledger.append(tx, stamp, change)?;
                store::record_key(tx, key, None)?;
            }
            let replaced_key = store::replaced_key(tx)?;
            let gateway = match configured {
                Some(gateway) => gateway,
                None => made_gateway_id(tx)?,
            };
            let roster = roster::load(tx, &sealer, &model)?;
            let roster_stale = roster::stale_since(tx)?.is_some();
            let clock = ClockWatch::resumed(stamp, store::meta(tx, CLOCK)?.as_deref());
            let last_trusted = store::meta(tx, LAST_TRUSTED)?.and_then(|ms| ms.try_into().ok());
            let last_trusted = LastTrusted::new(last_trusted.map(i64::from_be_bytes));
            let mut kept = HashMap::new();
            for name in lanes {
                let shown = |direction| {
                    let kept = lane::load_liveness(tx, &name, direction);
                    let mode = recognition.liveness.at(direction);
                    LivenessShown::new(mode, &kept, recognition.liveness_threshold)
                };
                let liveness = Direction::BOTH.map(shown);
                let (mode, sensors) = (lane::load_mode(tx, &name)?, lane::load_sensors(tx, &name)?);
                kept.insert(name, KeptLane { mode, sensors, liveness });
            }
            let alarms = alarms::Kept {
                standing: store::meta(tx, alarms::STANDING)?,
                relocation: store::meta(tx, alarms::NEIGHBOURHOOD)?,
            };
            let dates = Dates::read(tx)?;
            let undated = dates.undated(tx, stamp.boot, dates.ms(stamp) - UNDATED_SHOWN_MS)?;
            if undated > 0 {
                tracing::warn!(undated, "records have no date");
            }
            failpoint::at("start.written");
            Ok(Opened {
                ledger,
                gateway,
                roster,
                clock,
                last_trusted,
                lanes: kept,
                alarms,
                roster_stale,
                undated,
                replaced_key,
            })
        })
        .await
}

/// Time for which records without a date are a trouble: two months, in which wages are paid.
const UNDATED_SHOWN_MS: i64 = 62 * 24 * 3_600_000;
/// Key of the recorded state of the clock in the database.
pub(super) const CLOCK: &str = "clock";
/// Key in `meta`: the last time at which the clock was trusted; ms since 1970, 8 bytes.
pub(super) const LAST_TRUSTED: &str = "last_trusted";
const GATEWAY: &str = "gateway_id";

/// Returns the entry for a signing key that the ledger does not know yet. A key that was lost cannot
/// endorse the one after it.
fn key_change(tx: &Transaction<'_>, key: PublicKey) -> Result<Option<SigningKeyChange>, Failure> {
    let predecessor = store::recorded_key(tx)?;
    if predecessor == Some(key) {
        return Ok(None);
    }
    if let Some(predecessor) = predecessor {
        tracing::error!(%key, %predecessor, "the signing key is another one than before");
    }
    Ok(Some(SigningKeyChange { key, predecessor, endorsement: None, by: None }))
}

/// Makes the first entry of a ledger that succeeds a damaged one, or an older copy. Carries over the roster, the
/// gateway's id and other states from the old database, as far as they can be read.
fn succeed(
    tx: &Transaction<'_>,
    ledger: &Ledger,
    stamp: Stamp,
    sealer: &store::Sealer,
    lanes: &[String],
    old: &Predecessor,
    dir: &Path,
) -> Result<(), Failure> {
    let found = store::why_set_aside(&old.place);
    let mut detail = Detail::new("damaged").with("problem", found);
    let (mut predecessor, mut head, mut carried) = (None, None, CarriedOver::default());
    let place = &old.place;
    if let Some(old) = &old.database {
        let kept = |key: &str| store::meta(old, key).ok().flatten();
        predecessor = kept("ledger").and_then(|id| id.try_into().ok()).map(LedgerId);
        head = ledger::last_known(old);
        if let Some(gateway) = kept(GATEWAY) {
            store::set_meta(tx, GATEWAY, &gateway)?;
        }
        store::carry_keys_over(tx, old)?;
        // The known router is carried over, so that a box that was moved still raises the alarm.
        if let Some(router) = kept(alarms::NEIGHBOURHOOD) {
            store::set_meta(tx, alarms::NEIGHBOURHOOD, &router)?;
        }
        if let Some(trusted) = kept(LAST_TRUSTED) {
            store::set_meta(tx, LAST_TRUSTED, &trusted)?;
        }
        for prefix in [commands::REMOVAL_WAITS, lane::LIVENESS] {
            for (key, kept) in store::metas(old, prefix).unwrap_or_default() {
                store::set_meta(tx, &key, &kept)?;
            }
        }
        for name in lanes {
            // A mode that cannot be read becomes normal.
            let mode = lane::load_mode(old, name).unwrap_or_default();
            lane::keep_mode(tx, name, &mode)?;
            lane::keep_sensors(tx, name, lane::load_sensors(old, name).unwrap_or_default())?;
        }
        carried = roster::carry_over(tx, sealer, old)?;
        photo_store::carry_over(tx, sealer, old)?;
        // The list of executed commands is lost, so earlier commands are not executed again.
        if stamp.synced {
            for upstream in ledger.upstreams() {
                commands::forget(tx, upstream, stamp.wall_ms)?;
            }
        }
        let renewed = store::was_renewed(place);
        let is_copy = store::older_copy(old, dir).is_ok_and(|mark| mark.is_some());
        let waiting = old.query_row("SELECT count(*) FROM outbox", [], |row| row.get::<_, u64>(0));
        detail.code = match waiting {
            _ if is_copy => "older_copy",
            _ if renewed => "ledger_renewed",
            Ok(0) => "damaged",
            Ok(_) => "damaged_unacknowledged",
            Err(_) => "damaged_acknowledgements_unknown",
        }
        .into();
        if let Ok(waiting @ 1..) = waiting {
            detail = detail.with("records", waiting);
        }
    }
    let CarriedOver { workers, lost: workers_lost } = carried;
    let set_aside = old.place.file_name().unwrap_or_default().to_string_lossy().into_owned();
    tracing::error!(%set_aside, found = %detail, workers, lost = workers_lost, "a new ledger succeeds the one that was set aside");
    let set_aside = format!("set-aside/{set_aside}");
    let successor = Successor { predecessor, head, set_aside, detail, workers, workers_lost };
    let first = ledger.append(tx, stamp, successor)?;
    if workers > 0 {
        roster::doubt(tx, first.entry.index)?;
    }
    Ok(store::succeeded(tx)?)
}

/// Returns the gateway's random id; the database keeps it after the first call.
fn made_gateway_id(tx: &Transaction<'_>) -> Result<String, Failure> {
    let kept = store::meta(tx, GATEWAY)?;
    if let Some(kept) = kept.and_then(|bytes| String::from_utf8(bytes).ok()) {
        return Ok(kept);
    }
    let mut random = [0; 6];
    getrandom::fill(&mut random).map_err(StoreError::from)?;
    let made = format!("gw-{}", hex::encode(random));
    store::set_meta(tx, GATEWAY, made.as_bytes())?;
    Ok(made)
}
