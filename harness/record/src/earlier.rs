//! Reading fields that were text in earlier schemas and have names of their own now.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A value that earlier writers recorded as text.
pub(crate) trait Earlier: Sized {
    /// The value that such a text stands for. `None`: the text says that there is none.
    fn from_text(text: &str) -> Option<Self>;
}

/// Reads a value that may be absent, in today's form or as text.
pub(crate) fn one<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Earlier,
{
    deserializer
        .deserialize_any(Any::<T>(PhantomData))
        .map(|mut all| all.pop())
}

/// Reads any number of values: a list in today's form, or one text or `null`.
pub(crate) fn many<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Earlier,
{
    deserializer.deserialize_any(Any::<T>(PhantomData))
}

struct Any<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Earlier> Visitor<'de> for Any<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value with its kind, the text of an earlier schema, or null")
    }

    fn visit_unit<E: Error>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
        Ok(T::from_text(text).into_iter().collect())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
        Ok(vec![T::deserialize(MapAccessDeserializer::new(map))?])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let mut all = Vec::new();
        while let Some(value) = seq.next_element()? {
            all.push(value);
        }
        Ok(all)
    }
}
