//! Reads databases that were set aside. They are never written: what is rescued from one is a file of
//! its own beside it.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::{
    StoreError,
    database::{APPLICATION_ID, MIGRATIONS, TAKES_PLACE_OF, open_reader},
    folder::own_file,
    meta::meta,
};

const DATABASE: &str = "gatehouse.db";
/// Name of the file with the entries that were rescued from a damaged database.
const RESCUED: &str = "rescued.db";
/// Name of that file until it is complete.
const UNFINISHED: &str = "rescued.new";

/// Opens a database that was set aside, read only: what was rescued from it, or else the database
/// itself. Any query may fail because of damage.
pub fn open_set_aside(place: &Path) -> Option<Connection> {
    let rescued = place.join(RESCUED);
    if rescued.exists() {
        return open_reader(&rescued).ok();
    }
    open_damaged(place)
}

/// Returns the name of the file that [`open_set_aside`] opens.
pub fn read_from(place: &Path) -> &'static str {
    if place.join(RESCUED).exists() { RESCUED } else { DATABASE }
}

/// Opens the database itself, read only.
pub fn open_damaged(place: &Path) -> Option<Connection> {
    // The old log is read and stays unchanged.
    open_reader(&place.join(DATABASE)).ok().filter(|old| {
        use rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        old.set_db_config(SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).is_ok()
    })
}

/// Returns the files that hold the data of a database that was set aside.
pub fn files_of(place: &Path) -> [PathBuf; 2] {
    [place.join(DATABASE), place.join("gatehouse.db-wal")]
}

/// The database that was set aside for this one.
pub struct Predecessor {
    /// The folder in which it was set aside.
    pub place: PathBuf,
    /// The damaged database, read only. Any query may fail because of the damage.
    pub database: Option<Connection>,
}

/// Returns the database that was set aside before this one was made; `None` after [`succeeded`].
pub fn predecessor(connection: &Connection, dir: &Path) -> rusqlite::Result<Option<Predecessor>> {
    let Some(name) = meta(connection, TAKES_PLACE_OF)? else { return Ok(None) };
    let place = dir.join("set-aside").join(String::from_utf8_lossy(&name).as_ref());
    let database = open_damaged(&place);
    Ok(Some(Predecessor { place, database }))
}

/// Notes that the ledger has recorded its predecessor.
pub fn succeeded(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM meta WHERE key = ?1", [TAKES_PLACE_OF]).map(drop)
}

/// A file for rescued entries, under way.
pub struct Rescue {
    place: PathBuf,
    /// A database with all tables, and without references between rows.
    pub connection: Connection,
}

impl Rescue {
    /// Begins a file beside a database that was set aside.
    pub fn begin(place: &Path) -> Result<Rescue, StoreError> {
        let file = place.join(UNFINISHED);
        let folder = |source| StoreError::Folder { path: place.to_owned(), source };
        match std::fs::remove_file(&file) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(folder(e)),
            _ => {}
        }
        own_file(&file).map_err(folder)?;
        let connection = Connection::open(&file)?;
        // A rescued outcome may have lost its grant.
        connection.pragma_update(None, "foreign_keys", "OFF")?;
        for sql in MIGRATIONS {
            connection.execute_batch(sql)?;
        }
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        connection.pragma_update(None, "user_version", MIGRATIONS.len())?;
        Ok(Rescue { place: place.to_owned(), connection })
    }

    /// Completes the file. From now on it is read in place of the damaged database. It gets the owner
    /// of the folder, because root may run the rescue.
    pub fn finish(self) -> Result<PathBuf, StoreError> {
        use std::os::unix::fs::MetadataExt as _;
        let Rescue { place, connection } = self;
        let folder = |source| StoreError::Folder { path: place.clone(), source };
        drop(connection);
        let (file, rescued) = (place.join(UNFINISHED), place.join(RESCUED));
        let owner = std::fs::metadata(&place).map_err(folder)?;
        std::os::unix::fs::chown(&file, Some(owner.uid()), Some(owner.gid())).map_err(folder)?;
        std::fs::rename(&file, &rescued).map_err(folder)?;
        std::fs::File::open(&place).and_then(|dir| dir.sync_all()).map_err(folder)?;
        Ok(rescued)
    }
}
