//! A serde deserializer for decoded values.

use std::cell::Cell;

use serde::de::{
    self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
    value::{BorrowedStrDeserializer, MapAccessDeserializer},
};

use super::{CborError, Item};

/// One decoded value.
#[derive(Clone, Copy, Debug)]
pub struct Read<'i, 'a> {
    /// The value's item, and the items inside it.
    pub(super) items: &'i [Item<'a>],
    /// Counts the values that are passed over.
    pub(super) passed_over: &'i Cell<usize>,
}

impl<'i, 'a> Read<'i, 'a> {
    /// Returns the value of a key, if this is a map with that key.
    pub fn field(self, key: &str) -> Option<Read<'i, 'a>> {
        let [Item::Map(_), inside @ ..] = self.items else { return None };
        let mut rest = Parts(self.of(inside));
        while let (Some(name), Some(value)) = (rest.take(), rest.take()) {
            if matches!(name.items, [Item::Text(text)] if *text == key) {
                return Some(value);
            }
        }
        None
    }

    fn of(self, items: &'i [Item<'a>]) -> Self {
        Read { items, ..self }
    }
}

/// The values of a list or a map that were not read yet.
struct Parts<'i, 'a>(Read<'i, 'a>);

impl<'i, 'a> Parts<'i, 'a> {
    fn take(&mut self) -> Option<Read<'i, 'a>> {
        let items = self.0.items;
        let (value, rest) = items.split_at_checked(items.first()?.extent())?;
        self.0.items = rest;
        Some(self.0.of(value))
    }

    /// Reads the next value. After an error the same value is still next, so that the caller can
    /// read it as another type.
    fn next<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, CborError> {
        let here = self.0;
        let read = self.take().map(|value| seed.deserialize(value)).transpose();
        if read.is_err() {
            self.0 = here;
        }
        read
    }
}

impl de::Error for CborError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        CborError::Content(message.to_string())
    }
}

impl<'a> SeqAccess<'a> for Parts<'_, 'a> {
    type Error = CborError;

    fn next_element_seed<T: DeserializeSeed<'a>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, CborError> {
        self.next(seed)
    }
}

impl<'a> MapAccess<'a> for Parts<'_, 'a> {
    type Error = CborError;

    fn next_key_seed<T: DeserializeSeed<'a>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, CborError> {
        self.next(seed)
    }

    fn next_value_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<T::Value, CborError> {
        self.next(seed)?.ok_or_else(|| de::Error::custom("a key without a value"))
    }
}

impl<'de> Deserializer<'de> for Read<'_, 'de> {
    type Error = CborError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CborError> {
        let (item, inside) =
            self.items.split_first().ok_or_else(|| de::Error::custom("no value"))?;
        match *item {
            Item::Unsigned(int) => visitor.visit_u64(int),
            Item::Negative(int) => match i64::try_from(-1 - i128::from(int)) {
                Ok(int) => visitor.visit_i64(int),
                Err(_) => visitor.visit_i128(-1 - i128::from(int)),
            },
            Item::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
            Item::Text(text) => visitor.visit_borrowed_str(text),
            Item::Array(_) => visitor.visit_seq(Parts(self.of(inside))),
            Item::Map(_) => visitor.visit_map(Parts(self.of(inside))),
            Item::Bool(is) => visitor.visit_bool(is),
            Item::Null => visitor.visit_unit(),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CborError> {
        match self.items {
            [Item::Null] => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, CborError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CborError> {
        match self.items {
            [Item::Text(word)] => {
                let word: BorrowedStrDeserializer<'de, CborError> =
                    BorrowedStrDeserializer::new(word);
                visitor.visit_enum(word)
            }
            [Item::Map(_), inside @ ..] => {
                visitor.visit_enum(MapAccessDeserializer::new(Parts(self.of(inside))))
            }
            _ => Err(de::Error::custom("neither a word nor a map")),
        }
    }

    /// Passes over an unknown value, and counts it.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CborError> {
        self.passed_over.set(self.passed_over.get() + 1);
        visitor.visit_unit()
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map struct identifier
    }
}

impl<'a> IntoDeserializer<'a, CborError> for Read<'_, 'a> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
