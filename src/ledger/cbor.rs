//! Deterministic CBOR (RFC 8949, 4.2.1), integers only.
//!
//! ciborium writes the shortest integers and definite lengths, but neither sorts keys nor refuses
//! what is not in the one right form. This layer does both: keys are sorted by their encoded
//! bytes, and what is read is refused where it is not what would be written.

use ciborium::Value;
use smallvec::SmallVec;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    #[error("not CBOR: {0}")]
    Malformed(String),
    #[error("CBOR, but not in its one deterministic form")]
    NotDeterministic,
    #[error("{0} is missing or of another type")]
    Field(&'static str),
}

/// A map under construction; absent values are left out.
#[derive(Debug, Default)]
pub struct Map(Vec<(Value, Value)>);

impl Map {
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.push((key.into(), value.into()));
        self
    }

    pub fn with_some(self, key: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Value {
        Value::Map(map.0)
    }
}

/// Encodes with sorted keys.
pub fn encode(mut value: Value) -> Vec<u8> {
    sort(&mut value);
    write(&value)
}

fn write(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing a Value into a Vec has no error to give.
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

/// The order of two keys' encoded bytes. A text's begin with its length, and our keys are texts.
fn by_encoded(a: &Value, b: &Value) -> std::cmp::Ordering {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => (a.len(), a.as_bytes()).cmp(&(b.len(), b.as_bytes())),
        _ => write(a).cmp(&write(b)),
    }
}

/// A decoded value, or a part of one; texts and bytes lie in what was decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    Unsigned(u64),
    /// As CBOR has it: -1 less this.
    Negative(u64),
    Bytes(&'a [u8]),
    Text(&'a str),
    /// So many items that follow it are what it holds.
    Array(usize),
    Map(usize),
    Bool(bool),
    Null,
}

impl Item<'_> {
    /// How many items it is, with what it holds.
    fn extent(self) -> usize {
        match self {
            Item::Array(inside) | Item::Map(inside) => 1 + inside,
            _ => 1,
        }
    }
}

/// A decoded value as its items, in the order in which they were written.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded<'a>(Items<'a>);

/// Without an allocation for most entries.
type Items<'a> = SmallVec<[Item<'a>; 64]>;

impl Decoded<'_> {
    /// The fields of a map; of anything else there are none.
    pub fn fields(&self) -> Fields<'_> {
        match self.0.split_first() {
            Some((Item::Map(_), inside)) => Fields(inside),
            _ => Fields(&[]),
        }
    }
}

/// Maps and arrays within each other.
const DEPTH: u8 = 16;

/// Decodes one value, refusing any other encoding of it.
pub fn decode(bytes: &[u8]) -> Result<Decoded<'_>, CborError> {
    let (mut rest, mut items) = (bytes, Items::new());
    read(&mut rest, DEPTH, &mut items)?;
    if rest.is_empty() { Ok(Decoded(items)) } else { Err(CborError::NotDeterministic) }
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

/// An item's major type and its argument, which stands in the fewest bytes (RFC 8949, 3).
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
    // What floats and simple values mean by it is none of our forms.
    if argument < least && major < 7 {
        return Err(CborError::NotDeterministic);
    }
    Ok((major, info, argument))
}

fn read<'a>(rest: &mut &'a [u8], depth: u8, items: &mut Items<'a>) -> Result<(), CborError> {
    let (major, info, argument) = head(rest)?;
    let depth = depth.checked_sub(1).ok_or_else(|| malformed("nested too deeply"))?;
    let at = items.len();
    // Of a map or an array, how much it holds is known at its end.
    items.push(Item::Null);
    let item = match major {
        0 => Item::Unsigned(argument),
        1 => Item::Negative(argument),
        2 => Item::Bytes(take(rest, argument)?),
        3 => {
            let text = std::str::from_utf8(take(rest, argument)?);
            Item::Text(text.map_err(|_| malformed("a text that is no UTF-8"))?)
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
                // Most differ in the first byte already, which tells the length.
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
            _ => return Err(malformed("a simple value that is none")),
        },
        _ => return Err(CborError::NotDeterministic),
    };
    items[at] = item;
    Ok(())
}

/// The first value of some items, with what it holds, and the items behind it.
fn first<'i, 'a>(items: &'i [Item<'a>]) -> Option<(&'i [Item<'a>], &'i [Item<'a>])> {
    items.split_at_checked(items.first()?.extent())
}

/// Reads the fields of a decoded map: these are the items in it.
#[derive(Clone, Copy)]
pub struct Fields<'a>(&'a [Item<'a>]);

impl<'a> Fields<'a> {
    // With the key known here, it is compared without a call.
    #[inline(always)]
    fn find(self, key: &'static str) -> Option<&'a [Item<'a>]> {
        let mut rest = self.0;
        while let Some((found, behind)) = first(rest) {
            let (value, behind) = first(behind)?;
            if matches!(found, [Item::Text(text)] if *text == key) {
                return Some(value);
            }
            rest = behind;
        }
        None
    }

    /// A field that may be absent, as `read` takes it.
    #[inline(always)]
    fn optional<T>(
        self,
        key: &'static str,
        read: impl FnOnce(&'a [Item<'a>]) -> Option<T>,
    ) -> Result<Option<T>, CborError> {
        self.find(key).map(|value| read(value).ok_or(CborError::Field(key))).transpose()
    }

    pub fn map(self, key: &'static str) -> Result<Fields<'a>, CborError> {
        self.optional_map(key)?.ok_or(CborError::Field(key))
    }

    pub fn optional_map(self, key: &'static str) -> Result<Option<Fields<'a>>, CborError> {
        self.optional(key, |value| match value {
            [Item::Map(_), inside @ ..] => Some(Fields(inside)),
            _ => None,
        })
    }

    /// A text as it lies in the bytes.
    pub fn word(self, key: &'static str) -> Result<&'a str, CborError> {
        self.optional_word(key)?.ok_or(CborError::Field(key))
    }

    pub fn optional_word(self, key: &'static str) -> Result<Option<&'a str>, CborError> {
        self.optional(key, |value| match value {
            [Item::Text(text)] => Some(*text),
            _ => None,
        })
    }

    pub fn text(self, key: &'static str) -> Result<String, CborError> {
        self.word(key).map(str::to_owned)
    }

    pub fn optional_text(self, key: &'static str) -> Result<Option<String>, CborError> {
        Ok(self.optional_word(key)?.map(str::to_owned))
    }

    pub fn int<T: TryFrom<i128>>(self, key: &'static str) -> Result<T, CborError> {
        self.optional_int(key)?.ok_or(CborError::Field(key))
    }

    pub fn optional_int<T: TryFrom<i128>>(self, key: &'static str) -> Result<Option<T>, CborError> {
        self.optional(key, |value| match value {
            [Item::Unsigned(int)] => T::try_from(i128::from(*int)).ok(),
            [Item::Negative(int)] => T::try_from(-1 - i128::from(*int)).ok(),
            _ => None,
        })
    }

    pub fn bool(self, key: &'static str) -> Result<bool, CborError> {
        let found = self.optional(key, |value| match value {
            [Item::Bool(is)] => Some(*is),
            _ => None,
        });
        found?.ok_or(CborError::Field(key))
    }

    pub fn bytes<const N: usize>(self, key: &'static str) -> Result<[u8; N], CborError> {
        self.optional_bytes(key)?.ok_or(CborError::Field(key))
    }

    pub fn optional_bytes<const N: usize>(
        self,
        key: &'static str,
    ) -> Result<Option<[u8; N]>, CborError> {
        self.optional(key, |value| match value {
            [Item::Bytes(bytes)] => (*bytes).try_into().ok(),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_sorted_by_their_encoding_and_other_forms_are_refused() {
        let map = Map::default().with("bb", 1).with("a", -1).with("c", true);
        let bytes = encode(map.into());
        assert_eq!(bytes, b"\xa3\x61a\x20\x61c\xf5\x62bb\x01");
        assert!(decode(&bytes).is_ok());
        for (other, why) in [
            (&b"\xa3\x61c\xf5\x61a\x20\x62bb\x01"[..], "unsorted"),
            (b"\xa1\x61a\x18\x01", "a longer integer"),
            (b"\xa2\x61a\x01\x61a\x01", "a key twice"),
            (b"\xa1\x61a\xf9\x3c\x00", "a float"),
            (b"\xbf\x61a\x01\xff", "indefinite length"),
            (b"\xa1\x61a\x01\x00", "trailing bytes"),
        ] {
            assert_eq!(decode(other), Err(CborError::NotDeterministic), "{why}");
        }
        assert!(matches!(decode(b"\xa1\x61a"), Err(CborError::Malformed(_))));
    }

    fn owned(value: &[Item<'_>]) -> Value {
        let (item, inside) = value.split_first().unwrap();
        assert_eq!(value.len(), item.extent());
        match item {
            Item::Unsigned(int) => (*int).into(),
            Item::Negative(int) => Value::Integer((-1 - i128::from(*int)).try_into().unwrap()),
            Item::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
            Item::Text(text) => (*text).into(),
            Item::Array(_) => Value::Array(all(inside)),
            Item::Map(_) => {
                let pairs = all(inside);
                Value::Map(pairs.chunks(2).map(|p| (p[0].clone(), p[1].clone())).collect())
            }
            Item::Bool(is) => (*is).into(),
            Item::Null => Value::Null,
        }
    }

    fn all(mut items: &[Item<'_>]) -> Vec<Value> {
        let mut values = Vec::new();
        while let Some((value, behind)) = first(items) {
            values.push(owned(value));
            items = behind;
        }
        values
    }

    fn by_us(bytes: &[u8]) -> Option<Value> {
        decode(bytes).ok().map(|decoded| owned(&decoded.0))
    }

    /// ciborium's own reading, and whether it is what we would write.
    fn by_ciborium(bytes: &[u8]) -> Option<Value> {
        fn has_forms_of_ours(value: &Value) -> bool {
            match value {
                Value::Float(_) | Value::Tag(..) => false,
                Value::Array(items) => items.iter().all(has_forms_of_ours),
                Value::Map(pairs) => {
                    pairs.windows(2).all(|w| w[0].0 != w[1].0)
                        && pairs.iter().all(|(k, v)| has_forms_of_ours(k) && has_forms_of_ours(v))
                }
                _ => true,
            }
        }
        let value: Value = ciborium::de::from_reader_with_recursion_limit(bytes, 32).ok()?;
        (has_forms_of_ours(&value) && encode(value.clone()) == bytes).then_some(value)
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(Value::from),
            prop_oneof![Just(0_u64), Just(23), Just(24), Just(255), Just(256), Just(u64::MAX)]
                .prop_map(Value::from),
            any::<bool>().prop_map(Value::Bool),
            Just(Value::Null),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
            "[a-z峰]{0,30}".prop_map(Value::Text),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                prop::collection::btree_map("[a-c]{0,3}", inner, 0..6).prop_map(|pairs| {
                    Value::Map(pairs.into_iter().map(|(k, v)| (k.into(), v)).collect())
                }),
            ]
        })
    }

    #[test]
    fn what_is_nested_too_deeply_is_refused() {
        let mut bytes = vec![0x81; usize::from(DEPTH) - 1];
        bytes.push(0);
        assert!(decode(&bytes).is_ok());
        bytes.insert(0, 0x81);
        assert_eq!(decode(&bytes), Err(malformed("nested too deeply")));
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_and_nothing_else_than_ciborium_reads(
            value in value(),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut bytes = encode(value);
            prop_assert_eq!(by_us(&bytes), by_ciborium(&bytes));
            prop_assert!(decode(&bytes).is_ok());
            let at = at.index(bytes.len());
            bytes[at] = byte;
            prop_assert_eq!(by_us(&bytes), by_ciborium(&bytes), "{:02x?}", bytes);
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
