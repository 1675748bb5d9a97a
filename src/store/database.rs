//! The database's file: opened, brought up to date, looked through, and set aside where damaged.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{
    Sealer, StoreError,
    folder::{
        finish_setting_aside, locked, newest, own_file, read_sent, say_made, set_aside, was_made,
    },
    meta::{KEY_PROOF, meta, set_meta},
    settling,
};
use crate::{clock::Clock, config::Storage};

/// Each is run once, in order; the database's `user_version` says how many have been.
pub(super) const MIGRATIONS: &[&str] = &[include_str!("migrations/0001.sql")];
/// All of them, for tests of single tables.
#[cfg(test)]
pub const SCHEMA: &str = include_str!("migrations/0001.sql");
/// "GATE": tells our file from any other SQLite database.
pub(super) const APPLICATION_ID: i32 = 0x4741_5445;
/// The write-ahead log is cut back to this once a reader who held it up has gone; bytes.
const LOG_BYTES: i64 = 16 << 20;
/// How long a start may take to look the database through; what is left of it is trusted.
const LOOK_THROUGH: Duration = Duration::from_secs(30);
/// The same where damage was found before, and is looked for to the end: within the unit's
/// TimeoutStartSec.
const LOOK_CLOSER: Duration = Duration::from_secs(600);
/// The look stops to see the time after so many of SQLite's steps.
const STEPS: i32 = 1_000;
/// A read that fails is tried so often before the disk is taken to have lost it.
const READS: usize = 3;
const BETWEEN_READS: Duration = Duration::from_secs(1);
/// Stands beside the database while SQLite has found damage that no start has looked into yet.
const SUSPECT: &str = "gatehouse.db.suspect";

/// Of a database that takes a damaged one's place, until the ledger has said so: its folder.
const TAKES_PLACE_OF: &str = "takes_place_of";

/// Opens (or makes) the database. A damaged one is set aside and a new one made in its place.
pub(super) fn open(
    config: &Storage,
    clock: &Arc<dyn Clock>,
) -> Result<(Connection, Sealer), StoreError> {
    finish_setting_aside(config, clock.stamp())?;
    let mut opened = try_open(config, clock);
    for _ in 1..READS {
        // A read that fails once may be a loose card; one that never succeeds is damage.
        if matches!(&opened, Err(StoreError::Sqlite(e)) if lost_by_the_disk(e)) {
            std::thread::sleep(BETWEEN_READS);
            opened = try_open(config, clock);
        }
    }
    let found = match opened {
        Err(StoreError::Damaged { found, .. }) => found,
        Err(StoreError::Sqlite(e))
            if is_damage(&e) || (lost_by_the_disk(&e) && gives_something(&config.database())) =>
        {
            e.to_string()
        }
        opened => return opened,
    };
    let place = set_aside(config, clock.stamp(), &found)?;
    tracing::error!(%found, place = %place.display(), "the database is damaged and set aside");
    let fresh = try_open(config, clock)?;
    forget_suspicion(config);
    Ok(fresh)
}

pub(super) fn try_open(
    config: &Storage,
    clock: &Arc<dyn Clock>,
) -> Result<(Connection, Sealer), StoreError> {
    let path = config.database();
    if std::fs::metadata(&path).is_ok_and(|m| m.len() == 0) && was_made(&config.dir) {
        return Err(StoreError::Damaged { path, found: "the file is empty".to_owned() });
    }
    // Made by us first, so that SQLite's three files are 0600 from their first byte.
    own_file(&path).map_err(|source| StoreError::Folder { path: path.clone(), source })?;
    let mut connection = Connection::open(&path)?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    // What is not ours, or newer, is left as it is.
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
        ends_where_it_should(&connection, config)?;
    }
    let new = migrate(&mut connection, config)?;
    let key = settling::settle(&connection, config)?;
    let sealer = Sealer::load(&key, new && newest(&config.dir).is_none())?;
    if !prove_key(&connection, &path, &sealer)? {
        set_meta(&connection, "key_proof", &sealer.seal(KEY_PROOF, b"gatehouse")?)?;
    }
    if let Err(error) = say_made(&config.dir, true) {
        tracing::warn!(%error, "the lock's file is not written");
    }
    Ok((connection, sealer))
}

/// Records that have been sent and are not there would be followed by others of the same seq, and
/// those be taken for repeats.
fn ends_where_it_should(connection: &Connection, config: &Storage) -> Result<(), StoreError> {
    let Some(ledger) = meta(connection, "ledger")? else { return Ok(()) };
    let last: Option<u64> =
        connection.query_row("SELECT max(seq) FROM entry", [], |row| row.get(0))?;
    let last = last.unwrap_or(0);
    match read_sent(&config.dir, &ledger) {
        Some(sent) if sent > last => {
            let found = format!(
                "it ends with record {last}, and record {sent} had been sent: what came after is lost"
            );
            Err(StoreError::Damaged { path: config.database(), found })
        }
        _ => Ok(()),
    }
}

/// Whether SQLite says that what it read is not what was written.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Whether the disk gives back less than was written, or nothing.
fn lost_by_the_disk(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_IOERR_READ, SQLITE_IOERR_SHORT_READ};
    let code = error.sqlite_error().map(|e| e.extended_code);
    matches!(code, Some(SQLITE_IOERR_READ | SQLITE_IOERR_SHORT_READ))
}

/// Whether any of the file can be read. A disk of which nothing can be is away as a whole: that
/// says nothing of the database, and the start is tried again.
fn gives_something(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let length = file.metadata().map_or(0, |m| m.len());
    let places = [0, length / 2, length.saturating_sub(1)];
    places.into_iter().any(|at| file.read_at(&mut [0], at).is_ok())
}

/// Notes that SQLite has found damage: the next start looks the database through to its end.
pub(super) fn suspect(path: &Path, found: &str) {
    let note = path.with_file_name(SUSPECT);
    if let Err(error) = std::fs::write(&note, found) {
        tracing::warn!(%error, note = %note.display(), "not written");
    }
}

fn forget_suspicion(config: &Storage) {
    let _ = std::fs::remove_file(config.dir.join(SUSPECT));
}

/// Has SQLite look through the database's structure; for as long as a start may take, or to its
/// end where there is reason to.
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
            forget_suspicion(config);
            Ok(())
        }
        Ok(found) => Err(StoreError::Damaged { path, found }),
        Err(e) if e.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            tracing::warn!("the database is large: not all of it was looked through");
            // What is damaged will be met again, and looked for again.
            forget_suspicion(config);
            Ok(())
        }
        Err(e) => Err(e.into()),
    }
}

/// Opens an existing database as `open` would and has SQLite look it through, for `check`.
pub fn examine(config: &Storage) -> Result<(), StoreError> {
    let path = config.database();
    // Nothing is made, migrated or given another mode: `check` may be run by root, and the daemon
    // could not open what is root's.
    if !path.exists() {
        return Ok(());
    }
    let _lock = match File::open(config.dir.join("lock")) {
        Ok(lock) => Some(locked(lock, &config.dir)?),
        Err(_) => None,
    };
    // Able to write only so that SQLite can take its own log away again at the end.
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
    if found == "ok" { Ok(()) } else { Err(StoreError::Damaged { path, found }) }
}

/// How many migrations a database has had; 0 for an empty one.
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

/// Brings the schema up to date. True where the database holds nothing sealed yet.
fn migrate(connection: &mut Connection, config: &Storage) -> Result<bool, StoreError> {
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
        transaction.commit()?;
    }
    Ok(meta(connection, "key_proof")?.is_none())
}

/// A sealed word in the database shows whether the key is the one it was sealed with. False where
/// there is no such word yet.
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

/// A damaged database whose place this one takes, until the ledger has said so.
pub struct Predecessor {
    /// Where it was set aside.
    pub place: PathBuf,
    /// To be read with care: any query may find the damage.
    pub database: Option<Connection>,
}

/// The database that was set aside before this one was made, while [`succeeded`] was not called.
pub fn predecessor(connection: &Connection, dir: &Path) -> rusqlite::Result<Option<Predecessor>> {
    let Some(name) = meta(connection, TAKES_PLACE_OF)? else { return Ok(None) };
    let place = dir.join("set-aside").join(String::from_utf8_lossy(&name).as_ref());
    // Its log is read and left as it is.
    let database = open_reader(&place.join("gatehouse.db")).ok().filter(|old| {
        use rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        old.set_db_config(SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).is_ok()
    });
    Ok(Some(Predecessor { place, database }))
}

/// The ledger has said whose place it takes.
pub fn succeeded(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM meta WHERE key = ?1", [TAKES_PLACE_OF]).map(drop)
}
