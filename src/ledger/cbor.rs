//! Deterministic CBOR (RFC 8949, 4.2.1), integers only.
//!
//! ciborium writes the shortest integers and definite lengths, but neither sorts keys nor refuses
//! what is not in the one right form. This layer does both: keys are sorted by their encoded
//! bytes, and what is read must encode again to the same bytes.

use ciborium::Value;

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

fn no_floats_no_repeats(value: &Value) -> bool {
    match value {
        Value::Float(_) | Value::Tag(..) => false,
        Value::Array(items) => items.iter().all(no_floats_no_repeats),
        Value::Map(pairs) => {
            pairs.windows(2).all(|w| w[0].0 != w[1].0)
                && pairs.iter().all(|(_, v)| no_floats_no_repeats(v))
        }
        _ => true,
    }
}

/// Decodes one value, refusing any other encoding of it.
pub fn decode(bytes: &[u8]) -> Result<Value, CborError> {
    let value: Value = ciborium::de::from_reader_with_recursion_limit(bytes, 16)
        .map_err(|e| CborError::Malformed(e.to_string()))?;
    if !no_floats_no_repeats(&value) || encode(value.clone()) != bytes {
        return Err(CborError::NotDeterministic);
    }
    Ok(value)
}

/// Reads the fields of a decoded map.
#[derive(Clone, Copy)]
pub struct Fields<'a>(pub &'a Value);

impl<'a> Fields<'a> {
    fn find(self, key: &'static str) -> Option<&'a Value> {
        self.0.as_map()?.iter().find(|(k, _)| k.as_text() == Some(key)).map(|(_, v)| v)
    }

    pub fn map(self, key: &'static str) -> Result<Fields<'a>, CborError> {
        self.find(key).filter(|v| v.is_map()).map(Fields).ok_or(CborError::Field(key))
    }

    pub fn optional_map(self, key: &'static str) -> Result<Option<Fields<'a>>, CborError> {
        self.find(key).map(|_| self.map(key)).transpose()
    }

    pub fn text(self, key: &'static str) -> Result<String, CborError> {
        self.optional_text(key)?.ok_or(CborError::Field(key))
    }

    pub fn optional_text(self, key: &'static str) -> Result<Option<String>, CborError> {
        let text = |v: &Value| v.as_text().map(str::to_owned).ok_or(CborError::Field(key));
        self.find(key).map(text).transpose()
    }

    pub fn int<T: TryFrom<i128>>(self, key: &'static str) -> Result<T, CborError> {
        self.optional_int(key)?.ok_or(CborError::Field(key))
    }

    pub fn optional_int<T: TryFrom<i128>>(self, key: &'static str) -> Result<Option<T>, CborError> {
        let int = |v: &Value| {
            let int = i128::from(v.as_integer().ok_or(CborError::Field(key))?);
            T::try_from(int).map_err(|_| CborError::Field(key))
        };
        self.find(key).map(int).transpose()
    }

    pub fn bool(self, key: &'static str) -> Result<bool, CborError> {
        self.find(key).and_then(Value::as_bool).ok_or(CborError::Field(key))
    }

    pub fn bytes<const N: usize>(self, key: &'static str) -> Result<[u8; N], CborError> {
        self.optional_bytes(key)?.ok_or(CborError::Field(key))
    }

    pub fn optional_bytes<const N: usize>(
        self,
        key: &'static str,
    ) -> Result<Option<[u8; N]>, CborError> {
        let bytes = |v: &Value| {
            let bytes = v.as_bytes().and_then(|b| b.as_slice().try_into().ok());
            bytes.ok_or(CborError::Field(key))
        };
        self.find(key).map(bytes).transpose()
    }
}

#[cfg(test)]
mod tests {
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

    proptest::proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
