//! Tests of the deterministic form, and of the encodings that are refused.

use proptest::prelude::*;
use serde::Deserialize as _;

use super::*;

#[test]
fn keys_are_sorted_by_their_encoding_and_other_forms_are_refused() {
    let map = [("bb", Value::from(1)), ("a", (-1).into()), ("c", true.into()), ("d", Value::Null)];
    let map = map.into_iter().map(|(key, value)| (key.into(), value)).collect();
    let bytes = encode(&Value::Map(map)).unwrap();
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

fn by_us(bytes: &[u8]) -> Option<Value> {
    decode(bytes).ok().map(|decoded| Value::deserialize(decoded.read()).unwrap())
}

/// Returns ciborium's reading, if ciborium's value encodes to the same bytes.
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
    (has_forms_of_ours(&value) && encode_whole(value.clone()) == bytes).then_some(value)
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
fn a_value_that_is_nested_too_deeply_is_refused() {
    let mut bytes = vec![0x81; usize::from(DEPTH) - 1];
    bytes.push(0);
    assert!(decode(&bytes).is_ok());
    bytes.insert(0, 0x81);
    assert_eq!(decode(&bytes), Err(malformed("nested too deeply")));
}

proptest::proptest! {
    #[test]
    fn encoded_values_are_read_back_and_altered_bytes_read_as_ciborium_does(
        value in value(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = encode_whole(value);
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
