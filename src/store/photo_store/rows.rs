//! The table `passage_photo`.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use zeroize::Zeroizing;

use super::{super::sealing::SealError, Draft, PAGE, Sealer, StoreError};

/// The columns of a photo that are needed to remove it.
pub(super) struct Row {
    pub(super) n: i64,
    pub(super) passage: [u8; 16],
    pub(super) folder: String,
    pub(super) bytes: u64,
}

fn key_place(passage: &[u8; 16]) -> String {
    format!("photo_key/{}", hex::encode(passage))
}

/// Makes a photo's key. Returns a sealer with this key, and the key itself, sealed.
pub(super) fn new_key(sealer: &Sealer, passage: &[u8; 16]) -> Result<(Sealer, Vec<u8>), SealError> {
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(key.as_mut())?;
    let sealed = sealer.seal(&key_place(passage), key.as_slice())?;
    Ok((Sealer::from_master(&key), sealed))
}

/// Returns the sealer that opens one photo.
pub(super) fn photo_sealer(
    sealer: &Sealer,
    passage: &[u8; 16],
    sealed: &[u8],
) -> Result<Sealer, SealError> {
    let context = key_place(passage);
    let key = sealer.open(&context, sealed)?;
    let key = <&[u8; 32]>::try_from(key.as_slice());
    Ok(Sealer::from_master(key.map_err(|_| SealError::DoesNotOpen { context })?))
}

/// Inserts a photo's row. Returns false, and inserts nothing, if the worker was removed from the
/// roster or has no templates.
pub(super) fn insert(
    tx: &Transaction<'_>,
    draft: &Draft,
    day: Option<&str>,
) -> Result<bool, StoreError> {
    let entered = tx.execute(
        "INSERT OR IGNORE INTO passage_photo (passage, worker, folder, day, bytes, key)
         SELECT ?1, id, ?3, ?4, ?5, ?6 FROM worker WHERE id = ?2 AND state <> 'removed'
           AND EXISTS (SELECT 1 FROM template WHERE worker = ?2)",
        params![draft.passage, draft.worker, draft.folder, day, draft.sealed.len(), draft.key],
    )?;
    Ok(entered > 0)
}

/// Deletes the keys of a worker's photos, and returns their number. The photos are erased when `tx`
/// is committed and the write-ahead log emptied. [`PhotoStore::tidy`](super::PhotoStore::tidy)
/// removes the files.
pub fn erase(tx: &Transaction<'_>, worker: &str) -> rusqlite::Result<usize> {
    tx.execute("UPDATE passage_photo SET key = x'' WHERE worker = ?1 AND length(key) > 0", [worker])
}

/// Seals the keys of all photos with another sealing key, and returns their number. A damaged key
/// opens nothing, so its photo is erased.
pub fn reseal(tx: &Transaction<'_>, old: &Sealer, new: &Sealer) -> Result<u64, StoreError> {
    let (mut after, mut count) = (0, 0);
    let mut next = tx.prepare(
        "SELECT n, passage, key FROM passage_photo WHERE n > ?1 AND length(key) > 0
         ORDER BY n LIMIT 1",
    )?;
    let mut update = tx.prepare("UPDATE passage_photo SET key = ?2 WHERE n = ?1")?;
    loop {
        let row: Option<(i64, [u8; 16], Vec<u8>)> = next
            .query_row([after], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let Some((n, passage, sealed)) = row else { return Ok(count) };
        after = n;
        let Ok(key) = old.open(&key_place(&passage), &sealed) else {
            update.execute(params![n, Vec::<u8>::new()])?;
            continue;
        };
        update.execute(params![n, new.seal(&key_place(&passage), &key)?])?;
        count += 1;
    }
}

/// Copies the photos' rows from a damaged database, for workers who were carried over. Returns
/// their number.
pub fn carry_over(
    tx: &Transaction<'_>,
    sealer: &Sealer,
    old: &Connection,
) -> Result<u32, StoreError> {
    let Ok(mut all) = old
        .prepare("SELECT passage, worker, folder, day, bytes, key FROM passage_photo ORDER BY n")
    else {
        return Ok(0);
    };
    let mut insert = tx.prepare(
        "INSERT OR IGNORE INTO passage_photo (passage, worker, folder, day, bytes, key)
         SELECT ?1, id, ?3, ?4, ?5, ?6 FROM worker WHERE id = ?2 AND state <> 'removed'",
    )?;
    type Kept = ([u8; 16], String, String, Option<String>, u64, Vec<u8>);
    let row = |row: &rusqlite::Row<'_>| -> rusqlite::Result<Kept> {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
    };
    let Ok(rows) = all.query_map([], row) else { return Ok(0) };
    let mut count = 0;
    // Rows after the first damaged row are given up.
    for (passage, worker, folder, day, bytes, key) in rows.map_while(Result::ok) {
        let plain = !folder.contains(['/', '\\', '.']);
        if plain && photo_sealer(sealer, &passage, &key).is_ok() {
            count +=
                u32::from(insert.execute(params![passage, worker, folder, day, bytes, key])? > 0);
        }
    }
    Ok(count)
}

pub(super) fn find(
    tx: &Transaction<'_>,
    passage: &[u8; 16],
) -> Result<Option<(String, Vec<u8>)>, StoreError> {
    Ok(tx
        .prepare_cached(
            "SELECT folder, key FROM passage_photo WHERE passage = ?1 AND length(key) > 0",
        )?
        .query_row([passage], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?)
}

pub(super) fn count(tx: &Transaction<'_>) -> Result<(u64, u64), StoreError> {
    let count = "SELECT count(*), coalesce(sum(bytes), 0) FROM passage_photo";
    Ok(tx.query_row(count, [], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// Condition for photos whose key was erased; their files are removed next.
pub(super) const ERASED: &str = "length(key) = 0 AND ?1 = ?1";
/// Condition for photos of a day before the given day.
pub(super) const BEFORE: &str = "day < ?1";

/// Returns a page of the photos for which `which` holds, oldest first.
pub(super) fn some(
    tx: &Transaction<'_>,
    which: &str,
    argument: impl rusqlite::ToSql,
) -> Result<Vec<Row>, StoreError> {
    let sql = format!(
        "SELECT n, passage, folder, bytes FROM passage_photo WHERE {which} ORDER BY n LIMIT ?2"
    );
    let row = |row: &rusqlite::Row<'_>| {
        let (n, passage, folder, bytes) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        Ok(Row { n, passage, folder, bytes })
    };
    let mut found = tx.prepare_cached(&sql)?;
    Ok(found.query_map(params![argument, PAGE], row)?.collect::<Result<_, _>>()?)
}

/// Returns a page of the photos with a higher number than this, oldest first.
pub(super) fn after(tx: &Transaction<'_>, n: i64) -> Result<Vec<Row>, StoreError> {
    some(tx, "n > ?1", n)
}

pub(super) fn has_undated(tx: &Transaction<'_>) -> Result<bool, StoreError> {
    let any = "SELECT EXISTS (SELECT 1 FROM passage_photo WHERE day IS NULL)";
    Ok(tx.query_row(any, [], |row| row.get(0))?)
}

/// Gives this day to the photos without a day.
pub(super) fn date(tx: &Transaction<'_>, day: &str) -> Result<(), StoreError> {
    tx.execute("UPDATE passage_photo SET day = ?1 WHERE day IS NULL", [day])?;
    Ok(())
}

pub(super) fn delete(tx: &Transaction<'_>, rows: &[Row]) -> Result<(), StoreError> {
    let mut delete = tx.prepare_cached("DELETE FROM passage_photo WHERE n = ?1")?;
    for row in rows {
        delete.execute([row.n])?;
    }
    Ok(())
}

/// Returns the names, of these files, that belong to no photo with a row.
pub(super) fn strays(tx: &Transaction<'_>, names: Vec<String>) -> Result<Vec<String>, StoreError> {
    let mut strays = Vec::new();
    for name in names {
        let mut passage = [0; 16];
        let known =
            hex::decode_to_slice(&name, &mut passage).is_ok() && find(tx, &passage)?.is_some();
        if !known {
            strays.push(name);
        }
    }
    Ok(strays)
}
