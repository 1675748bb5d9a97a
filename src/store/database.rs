//! The database's file: it is opened, migrated, checked, and set aside if it is damaged.

use std::{fs::File, os::unix::fs::FileExt, path::Path, sync::Arc, time::Duration};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{
    Sealer, StoreError,
    folder::{finish_setting_aside, locked, mark_made, newest, own_file, set_aside, was_made},
    mark::older_copy,
    meta::{KEY_PROOF, meta, set_meta},
    settling,
};
use crate::{clock::Clock, config::Storage, failpoint};

/// The migrations. Each runs once, in order. `user_version` in the database counts those that ran.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
    include_str!("migrations/0007.sql"),
    include_str!("migrations/0008.sql"),
    include_str!("migrations/0009.sql"),
    include_str!("migrations/0010.sql"),
    include_str!("migrations/0011.sql"),
    include_str!("migrations/0012.sql"),
];
/// All migrations together, for tests of single tables.
#[cfg(test)]
pub const SCHEMA: &str = concat!(
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
    include_str!("migrations/0007.sql"),
    include_str!("migrations/0008.sql"),
    include_str!("migrations/0009.sql"),
    include_str!("migrations/0010.sql"),
    include_str!("migrations/0011.sql"),
    include_str!("migrations/0012.sql")
);
/// "GATE": tells our file from any other SQLite database.
pub(super) const APPLICATION_ID: i32 = 0x4741_5445;
/// Maximum size of the write-ahead log in bytes after a long reader has ended.
const LOG_BYTES: i64 = 16 << 20;
/// Timeout after which a start stops checking the database. The rest is trusted.
const LOOK_THROUGH: Duration = Duration::from_secs(30);
/// Timeout of the full check after damage was found before. The unit's TimeoutStartSec is longer.
const LOOK_CLOSER: Duration = Duration::from_secs(600);
/// Interval between two readings of the clock during the check, in steps of SQLite.
const STEPS: i32 = 1_000;
/// Maximum number of attempts to open a database that the disk fails to read.
const READS: usize = 3;
/// Interval between two attempts.
const BETWEEN_READS: Duration = Duration::from_secs(1);
/// Name of the file that notes damage found by SQLite, until a start has checked the database.
const SUSPECT: &str = "gatehouse.db.suspect";

/// Key in `meta` of a database that takes a damaged one's place: the damaged one's folder. It stays
/// until the ledger has recorded the succession.
pub(super) const TAKES_PLACE_OF: &str = "takes_place_of";

/// Opens (or makes) the database. A damaged one, or an older copy, is set aside and a new one made in
/// its place.
pub(super) fn open(
    config: &Storage,
    clock: &Arc<dyn Clock>,
) -> Result<(Connection, Sealer), StoreError> {
    finish_setting_aside(config, clock.stamp())?;
    let mut opened = try_open(config, clock);
    for _ in 1..READS {
        // A single failed read may be a loose card. A read that always fails is damage.
        if matches!(&opened, Err(StoreError::Sqlite(e)) if is_read_error(e)) {
            std::thread::sleep(BETWEEN_READS);
            opened = try_open(config, clock);
        }
    }
    let found = match opened {
        Err(StoreError::Damaged { found, .. } | StoreError::OlderCopy { found, .. }) => found,
        Err(StoreError::Sqlite(e))
            if is_damage(&e) || (is_read_error(&e) && is_readable(&config.database())) =>
        {
            e.to_string()
        }
        opened => return opened,
    };
    let place = set_aside(config, clock.stamp(), &found)?;
    tracing::error!(%found, place = %place.display(), "the database is set aside");
    let fresh = try_open(config, clock)?;
    clear_suspicion(config);
    Ok(fresh)
}

pub(super) fn try_open(
    config: &Storage,
    clock: &Arc<dyn Clock>,
) -> Result<(Connection, Sealer), StoreError> {
    let connection = open_unsealed(config, clock)?;
    let new = meta(&connection, "key_proof")?.is_none();
    let path = config.database();
    let key = settling::settle(&connection, config)?;
    let sealer = Sealer::load(&key, new && newest(&config.dir).is_none())?;
    if !prove_key(&connection, &path, &sealer)? {
        set_meta(&connection, "key_proof", &sealer.seal(KEY_PROOF, b"gatehouse")?)?;
    }
    if let Err(error) = mark_made(&config.dir, true) {
        tracing::warn!(%error, "the lock file cannot be written");
    }
    Ok((connection, sealer))
}

/// Opens (or makes) the database without the sealing key.
pub(super) fn open_unsealed(
    config: &Storage,
    clock: &Arc<dyn Clock>,
) -> Result<Connection, StoreError> {
    let path = config.database();
    if std::fs::metadata(&path).is_ok_and(|m| m.len() == 0) && was_made(&config.dir) {
        return Err(StoreError::Damaged { path, found: "the file is empty".to_owned() });
    }
    // We make the file before SQLite does, so that SQLite's three files are 0600 from the first
    // byte.
    own_file(&path).map_err(|source| StoreError::Folder { path: path.clone(), source })?;
    let mut connection = Connection::open(&path)?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    // A foreign or newer database is refused before anything in it changes.
    let found = schema(&connection, &path)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreError::NoWal { path });
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    if found > 0 {
        look_through(&mut connection, config, clock)?;
        check_age(&connection, config)?;
    }
    migrate(&mut connection, config)?;
    Ok(connection)
}

/// Returns [`StoreError::OlderCopy`] if the daemon has started since with a later state of this
/// database. Its ledger may go on elsewhere, so that it must not go on here under the same id.
fn check_age(connection: &Connection, config: &Storage) -> Result<(), StoreError> {
    let Some(mark) = older_copy(connection, &config.dir)? else { return Ok(()) };
    let found = format!(
        "it is an older copy that was put back: the database had {} entries and {} starts",
        mark.entries, mark.starts
    );
    Err(StoreError::OlderCopy { path: config.database(), found })
}

/// Returns whether SQLite reports a damaged file.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Returns whether the disk failed to read, or read too few bytes.
fn is_read_error(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_IOERR_READ, SQLITE_IOERR_SHORT_READ};
    let code = error.sqlite_error().map(|e| e.extended_code);
    matches!(code, Some(SQLITE_IOERR_READ | SQLITE_IOERR_SHORT_READ))
}

/// Returns whether a part of the file can be read. If no part can, the whole disk is away. That is
/// no sign of damage, and the start is tried again.
fn is_readable(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let length = file.metadata().map_or(0, |m| m.len());
    let places = [0, length / 2, length.saturating_sub(1)];
    places.into_iter().any(|at| file.read_at(&mut [0], at).is_ok())
}

/// Notes that SQLite has found damage. The next start then checks the whole database.
pub(super) fn suspect(path: &Path, found: &str) {
    let note = path.with_file_name(SUSPECT);
    if let Err(error) = std::fs::write(&note, found) {
        tracing::warn!(%error, note = %note.display(), "the note of the damage is not written");
    }
}

fn clear_suspicion(config: &Storage) {
    let _ = std::fs::remove_file(config.dir.join(SUSPECT));
}

/// Lets SQLite check the database's structure: for [`LOOK_THROUGH`], or more closely and for
/// [`LOOK_CLOSER`] if damage was found before.
fn look_through(
    connection: &mut Connection,
    config: &Storage,
    clock: &Arc<dyn Clock>,
) -> Result<(), StoreError> {
    let path = config.database();
    let suspected = config.dir.join(SUSPECT).exists();
    let look = if suspected { "PRAGMA integrity_check(1)" } else { "PRAGMA quick_check(1)" };
    let within = if suspected { LOOK_CLOSER } else { LOOK_THROUGH };
    let (until, watch) = (clock.monotonic() + within, clock.clone());
    connection.progress_handler(STEPS, Some(move || watch.monotonic() > until))?;
    let found = connection.query_row(look, [], |row| row.get::<_, String>(0));
    connection.progress_handler(0, None::<fn() -> bool>)?;
    match found {
        Ok(found) if found == "ok" => {
            clear_suspicion(config);
            Ok(())
        }
        Ok(found) => Err(StoreError::Damaged { path, found }),
        Err(e) if e.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            tracing::warn!("the database is large: only a part of it was checked");
            // SQLite would find remaining damage again, and note it again.
            clear_suspicion(config);
            Ok(())
        }
        Err(e) => Err(e.into()),
    }
}

/// Opens an existing database as `open` would, and lets SQLite check it. Returns what `read` reads of
/// it; `None` without a database, or if it is empty. For `gatehouse check`.
pub fn examine<T>(
    config: &Storage,
    read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<Option<T>, StoreError> {
    let path = config.database();
    // `check` makes no file, migrates nothing and changes no mode. Root may run it, and the daemon
    // could not open root's files.
    if !path.exists() {
        return Ok(None);
    }
    let _lock = match File::open(config.dir.join("lock")) {
        Ok(lock) => Some(locked(lock, &config.dir)?),
        Err(_) => None,
    };
    // The connection may write only so that SQLite can remove its log when it closes.
    let connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "query_only", "ON")?;
    let schema = schema(&connection, &path)?;
    if schema > 0 {
        let sealer = Sealer::load(&config.key, false)?;
        match prove_key(&connection, &path, &sealer) {
            Err(StoreError::WrongKey { .. })
                if settling::is_to_be_finished(&connection, config)? => {}
            proven => drop(proven?),
        }
    }
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return Err(StoreError::Damaged { path, found });
    }
    Ok((schema > 0).then(|| read(&connection)).transpose()?)
}

/// Returns the number of migrations that a database has had; 0 for an empty one.
fn schema(connection: &Connection, path: &Path) -> Result<usize, StoreError> {
    let found: u32 = connection.query_row("PRAGMA user_version", [], |r| r.get(0))?;
    let found = usize::try_from(found).unwrap_or(usize::MAX);
    let id: i32 = connection.query_row("PRAGMA application_id", [], |r| r.get(0))?;
    let tables: u32 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0))?;
    if id != APPLICATION_ID && (found != 0 || tables != 0) {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    let known = MIGRATIONS.len();
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    Ok(found)
}

/// Brings the schema up to date.
fn migrate(connection: &mut Connection, config: &Storage) -> Result<(), StoreError> {
    let found = schema(connection, &config.database())?;
    for (done, sql) in MIGRATIONS.iter().enumerate().skip(found) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        if done == 0 {
            let mut ledger = [0; 16];
            getrandom::fill(&mut ledger)?;
            set_meta(&transaction, "ledger", &ledger)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            if let Some(place) = newest(&config.dir) {
                let name = place.file_name().unwrap_or_default();
                set_meta(&transaction, TAKES_PLACE_OF, name.as_encoded_bytes())?;
            }
        }
        transaction.execute_batch(&format!("PRAGMA user_version = {}", done + 1))?;
        failpoint::at(format_args!("migration.{}.written", done + 1));
        transaction.commit()?;
        failpoint::at(format_args!("migration.{}.committed", done + 1));
    }
    Ok(())
}

/// Checks the key: it must open the sealed word in the database. Returns false if the database has
/// no sealed word yet.
fn prove_key(connection: &Connection, path: &Path, sealer: &Sealer) -> Result<bool, StoreError> {
    match meta(connection, "key_proof")? {
        Some(sealed) => match sealer.open(KEY_PROOF, &sealed) {
            Ok(_) => Ok(true),
            Err(_) => Err(StoreError::WrongKey { path: path.to_owned() }),
        },
        None => Ok(false),
    }
}

pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok(Connection::open_with_flags(path, flags)?)
}
