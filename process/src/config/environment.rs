//! Variables of the environment laid over what a file says.
//!
//! What a variable's value means is known by what the program asks for: where it wants a string, the value is one as it stands, whatever
//! it looks like; else it is read as TOML where that works. Never reads the environment itself.

use std::collections::BTreeMap;
use std::collections::btree_map::IntoIter;
use std::fmt;

use serde::de::value::{MapAccessDeserializer, StringDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use toml::{Table, Value};

/// A value of the configuration.
#[derive(Debug)]
pub(super) enum Layer {
    /// As the file says; no table.
    Held(Value),
    /// As a variable says, which has the last word.
    Given(Given),
    /// Keys of their own.
    Section(Section),
}

/// What a variable says.
#[derive(Debug)]
pub(super) struct Given {
    variable: String,
    text: String,
}

/// The keys of a section with their values.
#[derive(Debug)]
pub(super) struct Section(BTreeMap<String, Layer>);

impl Section {
    /// What a file says.
    pub(super) fn new(table: Table) -> Self {
        Self(
            table
                .into_iter()
                .map(|(key, value)| (key, Layer::new(value)))
                .collect(),
        )
    }

    /// Lays a variable over it. Nothing when its name, of which `keys` is what follows the prefix, names no key.
    pub(super) fn lay_over(&mut self, variable: &str, keys: &str, text: &str) -> Option<()> {
        let keys = keys.to_ascii_lowercase();
        let mut path: Vec<&str> = keys.split("__").collect();
        let last = path.pop()?;
        if last.is_empty() || path.iter().any(|key| key.is_empty()) {
            return None;
        }
        let mut section = self;
        for key in path {
            let layer = section
                .0
                .entry(key.to_owned())
                .or_insert_with(|| Layer::Section(Self(BTreeMap::new())));
            section = layer.as_section()?;
        }
        section.0.insert(
            last.to_owned(),
            Layer::Given(Given {
                variable: variable.to_owned(),
                text: text.to_owned(),
            }),
        );
        Some(())
    }
}

impl Layer {
    fn new(value: Value) -> Self {
        match value {
            Value::Table(table) => Self::Section(Section::new(table)),
            value => Self::Held(value),
        }
    }

    /// The keys in it, if it has keys.
    fn as_section(&mut self) -> Option<&mut Section> {
        if let Self::Given(given) = self {
            *self = Self::new(given.parsed()?);
        }
        match self {
            Self::Section(section) => Some(section),
            _ => None,
        }
    }

    fn variable(&self) -> Option<&str> {
        match self {
            Self::Given(given) => Some(&given.variable),
            _ => None,
        }
    }
}

impl Given {
    /// The value as TOML, if it is that.
    fn parsed(&self) -> Option<Value> {
        let mut table = format!("value = {}", self.text).parse::<Table>().ok()?;
        // A value that brings further lines would bring further keys.
        let value = table.remove("value");
        value.filter(|_| table.is_empty())
    }

    /// The value as a string: what stands between quotes, or all of it.
    fn into_string(self) -> String {
        match self.parsed() {
            Some(Value::String(text)) => text,
            _ => self.text,
        }
    }

    fn into_layer(self) -> Layer {
        Layer::new(self.parsed().unwrap_or(Value::String(self.text)))
    }
}

/// What does not fit, and where.
#[derive(Debug)]
pub(super) struct LayerError {
    /// The keys that lead to it, the last one first.
    place: Vec<String>,
    variable: Option<String>,
    message: String,
}

impl LayerError {
    fn at(mut self, key: &str, variable: Option<String>) -> Self {
        self.place.push(key.to_owned());
        self.variable = self.variable.or(variable);
        self
    }
}

impl fmt::Display for LayerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place: Vec<&str> = self.place.iter().rev().map(String::as_str).collect();
        f.write_str(&place.join("."))?;
        if let Some(variable) = &self.variable {
            write!(f, " (of the environment's {variable})")?;
        }
        let separator = if place.is_empty() { "" } else { ": " };
        write!(f, "{separator}{}", self.message)
    }
}

impl std::error::Error for LayerError {}

impl serde::de::Error for LayerError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            place: Vec::new(),
            variable: None,
            message: message.to_string(),
        }
    }
}

impl From<toml::de::Error> for LayerError {
    fn from(error: toml::de::Error) -> Self {
        Self::custom(error.message())
    }
}

impl<'de> IntoDeserializer<'de, LayerError> for Layer {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Section {
    type Error = LayerError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, LayerError> {
        visitor.visit_map(Keys::new(self))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct seq
        tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> Deserializer<'de> for Layer {
    type Error = LayerError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, LayerError> {
        match self {
            Self::Held(value) => Ok(value.deserialize_any(visitor)?),
            Self::Given(given) => given.into_layer().deserialize_any(visitor),
            Self::Section(section) => section.deserialize_any(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, LayerError> {
        match self {
            Self::Given(given) => visitor.visit_string(given.into_string()),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, LayerError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, LayerError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, LayerError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, LayerError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, LayerError> {
        match self {
            Self::Held(value) => Ok(value.deserialize_enum(name, variants, visitor)?),
            Self::Given(given) => {
                let text: StringDeserializer<LayerError> = given.into_string().into_deserializer();
                text.deserialize_enum(name, variants, visitor)
            }
            Self::Section(section) => visitor.visit_enum(MapAccessDeserializer::new(Keys::new(section))),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

/// The keys of a section, one after the other.
struct Keys {
    left: IntoIter<String, Layer>,
    next: Option<(String, Layer)>,
}

impl Keys {
    fn new(section: Section) -> Self {
        Self {
            left: section.0.into_iter(),
            next: None,
        }
    }
}

impl<'de> MapAccess<'de> for Keys {
    type Error = LayerError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, LayerError> {
        let Some((key, layer)) = self.left.next() else {
            return Ok(None);
        };
        let name: StringDeserializer<LayerError> = key.clone().into_deserializer();
        let known = seed.deserialize(name).map_err(|error| LayerError {
            variable: layer.variable().map(str::to_owned),
            ..error
        })?;
        self.next = Some((key, layer));
        Ok(Some(known))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, LayerError> {
        let Some((key, layer)) = self.next.take() else {
            return Err(LayerError::custom("a value was asked for before its key"));
        };
        let variable = layer.variable().map(str::to_owned);
        seed.deserialize(layer).map_err(|error| error.at(&key, variable))
    }
}
