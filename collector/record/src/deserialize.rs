//! Tokens, numbers and texts → any value that serde can deserialize.

use std::fmt::Display;

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use crate::{
    bytes::{Input, unzigzag},
    shape::{DEPTH_MAX, token},
};

/// Why a recorded value cannot be read as what is wanted.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

impl de::Error for Unreadable {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// Puts a value together again.
pub(crate) fn restore<T: DeserializeOwned>(
    shape: &[u8],
    numbers: &[u64],
    texts: &[&str],
) -> Result<T, Unreadable> {
    let mut parts = Parts { shape: Input(shape), numbers, texts, depth: 0 };
    T::deserialize(&mut parts)
}

/// What is left to be read.
struct Parts<'a> {
    shape: Input<'a>,
    numbers: &'a [u64],
    texts: &'a [&'a str],
    depth: usize,
}

/// Its parts do not go together.
pub(crate) fn damaged() -> Unreadable {
    Unreadable("it does not fit its description".to_owned())
}

impl<'a> Parts<'a> {
    fn number(&mut self) -> Result<u64, Unreadable> {
        let (first, rest) = self.numbers.split_first().ok_or_else(damaged)?;
        self.numbers = rest;
        Ok(*first)
    }

    fn text(&mut self) -> Result<&'a str, Unreadable> {
        let (first, rest) = self.texts.split_first().ok_or_else(damaged)?;
        self.texts = rest;
        Ok(first)
    }

    fn name(&mut self) -> Result<&'a str, Unreadable> {
        self.shape.text().ok_or_else(damaged)
    }

    fn nested<T>(
        &mut self,
        work: impl FnOnce(&mut Self, usize) -> Result<T, Unreadable>,
    ) -> Result<T, Unreadable> {
        let length = self.shape.size().ok_or_else(damaged)?;
        self.deeper(|parts| work(parts, length))
    }

    fn deeper<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, Unreadable>,
    ) -> Result<T, Unreadable> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(damaged());
        }
        let done = work(self)?;
        self.depth -= 1;
        Ok(done)
    }
}

impl<'de> de::Deserializer<'de> for &mut Parts<'de> {
    type Error = Unreadable;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        match self.shape.byte().ok_or_else(damaged)? {
            token::NONE => visitor.visit_none(),
            token::UNIT => visitor.visit_unit(),
            token::UNSIGNED => visitor.visit_u64(self.number()?),
            token::SIGNED => visitor.visit_i64(unzigzag(self.number()?) as i64),
            token::FLOAT => visitor.visit_f64(f64::from_bits(self.number()?)),
            token::BOOL => visitor.visit_bool(self.number()? != 0),
            token::TEXT => visitor.visit_borrowed_str(self.text()?),
            token::LIST => self.nested(|parts, left| {
                let mut items = Items { parts, left };
                let value = visitor.visit_seq(&mut items)?;
                items.skip_rest()?;
                Ok(value)
            }),
            token::MAP | token::STRUCT => self.nested(|parts, left| {
                let mut items = Items { parts, left };
                let value = visitor.visit_map(&mut items)?;
                items.skip_rest_of_map()?;
                Ok(value)
            }),
            token::UNIT_VARIANT => visitor.visit_enum(self.name()?.into_deserializer()),
            token::VARIANT => self.deeper(|parts| visitor.visit_enum(Variant(parts))),
            _ => Err(damaged()),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        if self.shape.0.first() == Some(&token::NONE) {
            self.shape.byte();
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        visitor.visit_newtype_struct(self)
    }

    /// A variant that nobody wants is passed over: serde would look for its value.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        if self.shape.0.first() == Some(&token::UNIT_VARIANT) {
            self.shape.byte();
            self.name()?;
            return visitor.visit_unit();
        }
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct enum identifier
    }
}

/// The items of a list or the entries of a map.
struct Items<'a, 'de> {
    parts: &'a mut Parts<'de>,
    left: usize,
}

impl Items<'_, '_> {
    /// A later version may have written more than this one knows.
    fn skip_rest(&mut self) -> Result<(), Unreadable> {
        while self.next_element::<de::IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn skip_rest_of_map(&mut self) -> Result<(), Unreadable> {
        while self.next_entry::<de::IgnoredAny, de::IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = Unreadable;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Unreadable> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.parts).map(Some)
    }
}

impl<'de> MapAccess<'de> for Items<'_, 'de> {
    type Error = Unreadable;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Unreadable> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(Key(self.parts.name()?)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, Unreadable> {
        seed.deserialize(&mut *self.parts)
    }
}

/// The name of a field, or the key of an entry, which may be a number.
struct Key<'de>(&'de str);

macro_rules! numeric_keys {
    ($($method:ident => $visit:ident),*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
            visitor.$visit(self.0.parse().map_err(|_| damaged())?)
        })*
    };
}

impl<'de> de::Deserializer<'de> for Key<'de> {
    type Error = Unreadable;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        visitor.visit_enum(self.0.into_deserializer())
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        visitor.visit_newtype_struct(self)
    }

    numeric_keys!(
        deserialize_u8 => visit_u8,
        deserialize_u16 => visit_u16,
        deserialize_u32 => visit_u32,
        deserialize_u64 => visit_u64,
        deserialize_i8 => visit_i8,
        deserialize_i16 => visit_i16,
        deserialize_i32 => visit_i32,
        deserialize_i64 => visit_i64
    );

    serde::forward_to_deserialize_any! {
        bool i128 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// A variant with a value.
struct Variant<'a, 'de>(&'a mut Parts<'de>);

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Unreadable;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), Unreadable> {
        let name: de::value::BorrowedStrDeserializer<'de, Unreadable> =
            de::value::BorrowedStrDeserializer::new(self.0.name()?);
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Unreadable;

    fn unit_variant(self) -> Result<(), Unreadable> {
        de::Deserialize::deserialize(self.0).map(|de::IgnoredAny| ())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, Unreadable> {
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Unreadable> {
        de::Deserializer::deserialize_any(self.0, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        de::Deserializer::deserialize_any(self.0, visitor)
    }
}
