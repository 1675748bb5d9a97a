//! Deterministic CBOR (RFC 8949, 4.2.1), integers only.
//!
//! ciborium writes the shortest integers and definite lengths. It does not sort keys, and it reads
//! other encodings too. This layer sorts keys by their encoded bytes, and refuses bytes that differ
//! from its own encoding of the value.

mod read;

use std::cell::Cell;

use ciborium::Value;
use serde::Serialize;
use smallvec::SmallVec;

pub use self::read::Read;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    #[error("not CBOR: {0}")]
    Malformed(String),
    #[error("CBOR, but not in its deterministic form")]
    NotDeterministic,
    #[error("not the content of an entry: {0}")]
    Content(String),
}

/// Encodes a value with sorted keys. Null values, empty lists and empty maps are left out of maps.
///
/// # Errors
/// A value that serde cannot write, such as an integer of more than 64 bits.
pub fn encode(value: &impl Serialize) -> Result<Vec<u8>, CborError> {
    Ok(write(&canonical(value)?))
}

/// Encodes a value as it is, with sorted keys.
pub(super) fn encode_whole(mut value: Value) -> Vec<u8> {
    sort(&mut value);
    write(&value)
}

/// Returns the value that [`encode`] writes.
pub(super) fn canonical(value: &impl Serialize) -> Result<Value, CborError> {
    let mut value = Value::serialized(value).map_err(|e| CborError::Content(e.to_string()))?;
    leave_out(&mut value);
    sort(&mut value);
    Ok(value)
}

fn write(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing a Value into a Vec cannot fail.
    let _ = ciborium::into_writer(value, &mut bytes);
    bytes
}

fn sort(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(sort),
        Value::Map(pairs) => {
            pairs.iter_mut().for_each(|(_, v)| sort(v));
            pairs.sort_by(|(a, _), (b, _)| by_encoded(a, b));
        }
        _ => {}
    }
}

/// Removes null values, empty lists and empty maps from maps.
fn leave_out(value: &mut Value) {
    let absent = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Map(pairs) => pairs.is_empty(),
        _ => false,
    };
    match value {
        Value::Array(items) => items.iter_mut().for_each(leave_out),
        Value::Map(pairs) => {
            pairs.iter_mut().for_each(|(_, v)| leave_out(v));
            pairs.retain(|(_, v)| !absent(v));
        }
        _ => {}
    }
}

/// Compares two keys by their encoded bytes. An encoded text begins with its length, so texts are
/// compared without encoding them.
fn by_encoded(a: &Value, b: &Value) -> std::cmp::Ordering {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => (a.len(), a.as_bytes()).cmp(&(b.len(), b.as_bytes())),
        _ => write(a).cmp(&write(b)),
    }
}

/// A decoded value, or a part of a value. Texts and bytes are borrowed from the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    Unsigned(u64),
    /// The value is -1 minus this number, as CBOR encodes it.
    Negative(u64),
    Bytes(&'a [u8]),
    Text(&'a str),
    /// The number of items after it that belong to it, in all depths. The same for `Map`.
    Array(usize),
    Map(usize),
    Bool(bool),
    Null,
}

impl Item<'_> {
    /// Returns the number of items that it takes up, itself included.
    fn extent(self) -> usize {
        match self {
            Item::Array(inside) | Item::Map(inside) => 1 + inside,
            _ => 1,
        }
    }
}

/// A decoded value as its items, in the order in which they were written.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    items: Items<'a>,
    passed_over: Cell<usize>,
}

/// Items on the stack: most entries need no allocation.
type Items<'a> = SmallVec<[Item<'a>; 64]>;

impl<'a> Decoded<'a> {
    /// Returns the whole value, for serde.
    pub fn read(&self) -> Read<'_, 'a> {
        Read { items: &self.items, passed_over: &self.passed_over }
    }

    /// Returns the number of values that reading passed over, because their fields are not known.
    pub fn passed_over(&self) -> usize {
        self.passed_over.get()
    }
}

/// Maximum depth of nested maps and arrays.
const DEPTH: u8 = 16;

/// Decodes one value, refusing any other encoding of it.
pub fn decode(bytes: &[u8]) -> Result<Decoded<'_>, CborError> {
    let (mut rest, mut items) = (bytes, Items::new());
    read(&mut rest, DEPTH, &mut items)?;
    if rest.is_empty() {
        Ok(Decoded { items, passed_over: Cell::default() })
    } else {
        Err(CborError::NotDeterministic)
    }
}

/// Returns the bytes of the first value, and the bytes behind it; `None` if they do not begin with one.
pub(super) fn first(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = bytes;
    read(&mut rest, DEPTH, &mut Items::new()).ok()?;
    bytes.split_at_checked(bytes.len() - rest.len())
}

fn malformed(what: &str) -> CborError {
    CborError::Malformed(what.to_owned())
}

fn take<'a>(rest: &mut &'a [u8], length: u64) -> Result<&'a [u8], CborError> {
    let length = usize::try_from(length).map_err(|_| malformed("a length beyond its end"))?;
    let (taken, left) =
        rest.split_at_checked(length).ok_or_else(|| malformed("it ends too early"))?;
    *rest = left;
    Ok(taken)
}

/// Reads an item's head: major type, additional information and argument (RFC 8949, 3). The
/// argument must be in its shortest form.
fn head(rest: &mut &[u8]) -> Result<(u8, u8, u64), CborError> {
    let [first] = take(rest, 1)? else { return Err(malformed("it ends too early")) };
    let (major, info) = (first >> 5, first & 0x1F);
    let (bytes, least) = match info {
        0..24 => return Ok((major, info, u64::from(info))),
        24 => (1, 24),
        25 => (2, 1 << 8),
        26 => (4, 1 << 16),
        27 => (8, 1 << 32),
        28..31 => return Err(malformed("a reserved length")),
        _ => return Err(CborError::NotDeterministic),
    };
    let argument = take(rest, bytes)?.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    // Major type 7 (floats, simple values) uses these bits differently; `read` handles it.
    if argument < least && major < 7 {
        return Err(CborError::NotDeterministic);
    }
    Ok((major, info, argument))
}

fn read<'a>(rest: &mut &'a [u8], depth: u8, items: &mut Items<'a>) -> Result<(), CborError> {
    let (major, info, argument) = head(rest)?;
    let depth = depth.checked_sub(1).ok_or_else(|| malformed("nested too deeply"))?;
    let at = items.len();
    // The extent of a map or an array is known at its end. Null holds the place until then.
    items.push(Item::Null);
    let item = match major {
        0 => Item::Unsigned(argument),
        1 => Item::Negative(argument),
        2 => Item::Bytes(take(rest, argument)?),
        3 => {
            let text = std::str::from_utf8(take(rest, argument)?);
            Item::Text(text.map_err(|_| malformed("a text that is not UTF-8"))?)
        }
        4 => {
            for _ in 0..argument {
                read(rest, depth, items)?;
            }
            Item::Array(items.len() - at - 1)
        }
        5 => {
            let mut before = &[][..];
            for _ in 0..argument {
                let start = *rest;
                read(rest, depth, items)?;
                let encoded = &start[..start.len() - rest.len()];
                // Most keys differ in the first byte, which holds the length.
                if (encoded.first(), encoded) <= (before.first(), before) {
                    return Err(CborError::NotDeterministic);
                }
                before = encoded;
                read(rest, depth, items)?;
            }
            Item::Map(items.len() - at - 1)
        }
        7 => match info {
            20 => Item::Bool(false),
            21 => Item::Bool(true),
            22 => Item::Null,
            25..=27 => return Err(CborError::NotDeterministic),
            _ => return Err(malformed("an unknown simple value")),
        },
        _ => return Err(CborError::NotDeterministic),
    };
    items[at] = item;
    Ok(())
}

#[cfg(test)]
mod tests;
