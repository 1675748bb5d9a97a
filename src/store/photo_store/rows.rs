//! The table `passage_photo`.

use jiff::civil::Date;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use zeroize::Zeroizing;

use super::{super::sealing::SealError, Draft, PAGE, Sealer, StoreError, files};
use crate::store::{meta, set_meta};

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
        params![draft.passage, draft.worker, draft.folder, day, draft.bytes(), draft.key],
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

/// A photo's folder, its sealed key, and its day.
type Found = (String, Vec<u8>, Option<String>);

pub(super) fn find(tx: &Transaction<'_>, passage: &[u8; 16]) -> Result<Option<Found>, StoreError> {
    Ok(tx
        .prepare_cached(
            "SELECT folder, key, day FROM passage_photo WHERE passage = ?1 AND length(key) > 0",
        )?
        .query_row([passage], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?)
}

pub(super) fn count(tx: &Transaction<'_>) -> Result<(u64, u64), StoreError> {
    let count = "SELECT count(*), coalesce(sum(bytes), 0) FROM passage_photo";
    Ok(tx.query_row(count, [], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// Condition for photos whose key was erased; their files are removed next.
pub(super) const ERASED: &str = "length(key) = 0 AND ?1 = ?1";
/// Condition for photos of a day before the given day, from the oldest photo on. A photo that a
/// clock set back has dated goes after the photos before it.
pub(super) const BEFORE: &str = "n < coalesce((SELECT n FROM passage_photo
     WHERE +day IS NULL OR +day >= ?1 ORDER BY n LIMIT 1), 9223372036854775807)";

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

/// Gives this day to the photos without a day, and to those of a later day.
pub(super) fn date(tx: &Transaction<'_>, today: &str) -> Result<(), StoreError> {
    tx.execute("UPDATE passage_photo SET day = ?1 WHERE day > ?1", [today])?;
    date_undated(tx, today)
}

/// Gives this day to the photos without a day.
pub(super) fn date_undated(tx: &Transaction<'_>, day: &str) -> Result<(), StoreError> {
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

/// Returns the day of the oldest photo, and the number of photos of a day before the given one.
pub fn oldest(tx: &Transaction<'_>, before: Date) -> Result<(Option<Date>, u64), StoreError> {
    let first = "SELECT day FROM passage_photo ORDER BY n LIMIT 1";
    let day: Option<Option<String>> = tx.query_row(first, [], |row| row.get(0)).optional()?;
    let over = "SELECT count(*) FROM passage_photo WHERE day < ?1";
    let over = tx.query_row(over, [before.to_string()], |row| row.get(0))?;
    Ok((day.flatten().and_then(|day| day.parse().ok()), over))
}

/// The reason for which a photo is removed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Its worker is erased.
    Erased,
    /// Its days are over.
    Pruned,
    /// The room is short.
    Crowded,
}

/// Number of photos that were removed and that no entry has told yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Untold {
    /// Their days were over.
    pub pruned: u64,
    /// Others, or attendance, needed the room.
    pub crowded_out: u64,
}

/// Key in `meta`: both numbers of [`Untold`].
const UNTOLD: &str = "photos_untold";

fn untold(tx: &Transaction<'_>) -> Result<Untold, StoreError> {
    let kept = meta(tx, UNTOLD)?.and_then(|kept| <[u8; 16]>::try_from(kept).ok());
    let numbers = u128::from_be_bytes(kept.unwrap_or_default());
    // `as` cuts off the other half.
    Ok(Untold { pruned: (numbers >> 64) as u64, crowded_out: numbers as u64 })
}

fn set_untold(
    tx: &Transaction<'_>,
    Untold { pruned, crowded_out }: Untold,
) -> Result<(), StoreError> {
    let numbers = u128::from(pruned) << 64 | u128::from(crowded_out);
    Ok(set_meta(tx, UNTOLD, &numbers.to_be_bytes())?)
}

pub(super) fn count_untold(tx: &Transaction<'_>, why: Why, photos: u64) -> Result<(), StoreError> {
    let mut counts = untold(tx)?;
    match why {
        Why::Erased => return Ok(()),
        Why::Pruned => counts.pruned += photos,
        Why::Crowded => counts.crowded_out += photos,
    }
    set_untold(tx, counts)
}

/// Returns the numbers since the last call. The caller appends the ledger's entry.
pub fn tell_untold(tx: &Transaction<'_>) -> Result<Untold, StoreError> {
    let counts = untold(tx)?;
    if counts != Untold::default() {
        set_untold(tx, Untold::default())?;
    }
    Ok(counts)
}

/// Returns the names, of these files, that belong to no photo with a row.
pub(super) fn strays(tx: &Transaction<'_>, names: Vec<String>) -> Result<Vec<String>, StoreError> {
    let mut strays = Vec::new();
    for name in names {
        let mut passage = [0; 16];
        let digits = files::of_passage(&name);
        let known =
            hex::decode_to_slice(digits, &mut passage).is_ok() && find(tx, &passage)?.is_some();
        if !known {
            strays.push(name);
        }
    }
    Ok(strays)
}
