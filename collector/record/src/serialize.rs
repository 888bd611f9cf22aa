//! Any value that serde can serialize → tokens, numbers and texts.

use std::{fmt::Display, io::Write as _};

use serde::{Serialize, ser};

use crate::{
    bytes::zigzag,
    shape::{Same, Sink, token},
};

/// Why a value cannot be recorded.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unrecordable(Box<str>);

impl ser::Error for Unrecordable {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string().into())
    }
}

/// Gives a value to a sink.
pub(crate) fn describe(value: &impl Serialize, sink: &mut impl Sink) -> Result<(), Unrecordable> {
    value.serialize(Flattener(sink))
}

struct Flattener<'a, S>(&'a mut S);

type Done = Result<(), Unrecordable>;

impl<S: Sink> Flattener<'_, S> {
    #[inline(always)]
    fn numeric(self, kind: u8, number: u64) -> Done {
        self.0.token(kind);
        self.0.number(number);
        Ok(())
    }

    fn variant(&mut self, name: &'static str) {
        self.0.token(token::VARIANT);
        self.0.name(name);
    }
}

macro_rules! numbers {
    ($($method:ident($type:ty) => $kind:ident, $convert:expr;)*) => {
        $(#[inline]
        fn $method(self, value: $type) -> Done {
            let convert: fn($type) -> u64 = $convert;
            self.numeric(token::$kind, convert(value))
        })*
    };
}

impl<'a, S: Sink> ser::Serializer for Flattener<'a, S> {
    type Ok = ();
    type Error = Unrecordable;
    type SerializeSeq = Parts<'a, S>;
    type SerializeTuple = Parts<'a, S>;
    type SerializeTupleStruct = Parts<'a, S>;
    type SerializeTupleVariant = Parts<'a, S>;
    type SerializeMap = Parts<'a, S>;
    type SerializeStruct = Parts<'a, S>;
    type SerializeStructVariant = Parts<'a, S>;

    numbers! {
        serialize_bool(bool) => BOOL, u64::from;
        serialize_u8(u8) => UNSIGNED, u64::from;
        serialize_u16(u16) => UNSIGNED, u64::from;
        serialize_u32(u32) => UNSIGNED, u64::from;
        serialize_u64(u64) => UNSIGNED, |number| number;
        serialize_i8(i8) => SIGNED, |number| zigzag(i64::from(number) as u64);
        serialize_i16(i16) => SIGNED, |number| zigzag(i64::from(number) as u64);
        serialize_i32(i32) => SIGNED, |number| zigzag(i64::from(number) as u64);
        serialize_i64(i64) => SIGNED, |number| zigzag(number as u64);
        serialize_f32(f32) => FLOAT, |number| f64::from(number).to_bits();
        serialize_f64(f64) => FLOAT, f64::to_bits;
    }

    fn serialize_i128(self, value: i128) -> Done {
        match i64::try_from(value) {
            Ok(number) => self.serialize_i64(number),
            Err(_) => Err(ser::Error::custom("a number is too large")),
        }
    }

    fn serialize_u128(self, value: u128) -> Done {
        match u64::try_from(value) {
            Ok(number) => self.serialize_u64(number),
            Err(_) => Err(ser::Error::custom("a number is too large")),
        }
    }

    fn serialize_char(self, value: char) -> Done {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Done {
        self.0.token(token::TEXT);
        self.0.text(value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Done {
        self.collect_seq(value)
    }

    #[inline]
    fn serialize_none(self) -> Done {
        self.0.token(token::NONE);
        Ok(())
    }

    #[inline(always)]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Done {
        self.0.token(token::UNIT);
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Done {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Done {
        self.0.token(token::UNIT_VARIANT);
        self.0.name(variant);
        Ok(())
    }

    #[inline(always)]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Done {
        self.variant(variant);
        value.serialize(self)
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Parts<'a, S>, Unrecordable> {
        Parts::begin(self.0, token::LIST, length)
    }

    fn serialize_tuple(self, length: usize) -> Result<Parts<'a, S>, Unrecordable> {
        Parts::begin(self.0, token::LIST, Some(length))
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        length: usize,
    ) -> Result<Parts<'a, S>, Unrecordable> {
        Parts::begin(self.0, token::LIST, Some(length))
    }

    fn serialize_tuple_variant(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Parts<'a, S>, Unrecordable> {
        self.variant(variant);
        Parts::begin(self.0, token::LIST, Some(length))
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Parts<'a, S>, Unrecordable> {
        Parts::begin(self.0, token::MAP, length)
    }

    fn serialize_struct(
        self,
        _: &'static str,
        length: usize,
    ) -> Result<Parts<'a, S>, Unrecordable> {
        Parts::begin(self.0, token::STRUCT, Some(length))
    }

    fn serialize_struct_variant(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Parts<'a, S>, Unrecordable> {
        self.variant(variant);
        Parts::begin(self.0, token::STRUCT, Some(length))
    }
}

/// The parts of a list, a map or a struct.
struct Parts<'a, S> {
    sink: &'a mut S,
    left: usize,
}

impl<'a, S: Sink> Parts<'a, S> {
    fn begin(sink: &'a mut S, kind: u8, length: Option<usize>) -> Result<Self, Unrecordable> {
        let left = length.ok_or_else(|| ser::Error::custom("a list has no known length"))?;
        sink.token(kind);
        sink.length(left);
        Ok(Self { sink, left })
    }

    #[inline(always)]
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        self.left = self.left.wrapping_sub(1);
        value.serialize(Flattener(self.sink))
    }

    fn finish(self) -> Done {
        match self.left {
            0 => Ok(()),
            _ => Err(ser::Error::custom("a list has another length than it said")),
        }
    }
}

macro_rules! items {
    ($($of:ident::$method:ident),*) => {
        $(impl<S: Sink> ser::$of for Parts<'_, S> {
            type Ok = ();
            type Error = Unrecordable;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
                self.part(value)
            }

            fn end(self) -> Done {
                self.finish()
            }
        })*
    };
}

items!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

macro_rules! fields {
    ($($of:ident),*) => {
        $(impl<S: Sink> ser::$of for Parts<'_, S> {
            type Ok = ();
            type Error = Unrecordable;

            #[inline(always)]
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Done {
                self.sink.name(name);
                if self.sink.is_known(Same::of(value)) {
                    self.left = self.left.wrapping_sub(1);
                    return Ok(());
                }
                let begin = self.sink.begin_field();
                self.part(value)?;
                self.sink.end_field(begin);
                Ok(())
            }

            fn end(self) -> Done {
                self.finish()
            }
        })*
    };
}

fields!(SerializeStruct, SerializeStructVariant);

impl<S: Sink> ser::SerializeMap for Parts<'_, S> {
    type Ok = ();
    type Error = Unrecordable;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Done {
        key.serialize(Key(self.sink))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        self.part(value)
    }

    fn end(self) -> Done {
        self.finish()
    }
}

/// A key becomes a text.
struct Key<'a, S>(&'a mut S);

/// The longest key that is no text: `i64::MIN`.
const KEY_BYTES_MAX: usize = 20;

impl<S: Sink> Key<'_, S> {
    /// Without allocation: a sample has one for each device of each container.
    fn displayed(self, value: impl Display) -> Done {
        let mut buffer = [0; KEY_BYTES_MAX];
        let mut left = buffer.as_mut_slice();
        write!(left, "{value}").map_err(ser::Error::custom)?;
        let length = KEY_BYTES_MAX - left.len();
        let text = buffer.get(..length).and_then(|text| std::str::from_utf8(text).ok());
        self.0.key(text.unwrap_or_default());
        Ok(())
    }
}

fn no_key<T>() -> Result<T, Unrecordable> {
    Err(ser::Error::custom("a key is neither a text nor a number"))
}

macro_rules! keys {
    ($($method:ident($type:ty)),*) => {
        $(fn $method(self, value: $type) -> Done {
            self.displayed(value)
        })*
    };
}

macro_rules! not_keys {
    ($($method:ident($($type:ty),*) -> $result:ty;)*) => {
        $(fn $method(self, $(_: $type),*) -> Result<$result, Unrecordable> {
            no_key()
        })*
    };
}

impl<S: Sink> ser::Serializer for Key<'_, S> {
    type Ok = ();
    type Error = Unrecordable;
    type SerializeSeq = ser::Impossible<(), Unrecordable>;
    type SerializeTuple = ser::Impossible<(), Unrecordable>;
    type SerializeTupleStruct = ser::Impossible<(), Unrecordable>;
    type SerializeTupleVariant = ser::Impossible<(), Unrecordable>;
    type SerializeMap = ser::Impossible<(), Unrecordable>;
    type SerializeStruct = ser::Impossible<(), Unrecordable>;
    type SerializeStructVariant = ser::Impossible<(), Unrecordable>;

    keys!(
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_char(char)
    );

    not_keys! {
        serialize_bool(bool) -> ();
        serialize_f32(f32) -> ();
        serialize_f64(f64) -> ();
        serialize_bytes(&[u8]) -> ();
        serialize_none() -> ();
        serialize_unit() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize)
            -> Self::SerializeTupleVariant;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct(&'static str, usize) -> Self::SerializeStruct;
        serialize_struct_variant(&'static str, u32, &'static str, usize)
            -> Self::SerializeStructVariant;
    }

    fn serialize_str(self, value: &str) -> Done {
        self.0.key(value);
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Done {
        self.0.key(variant);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Done {
        no_key()
    }
}
