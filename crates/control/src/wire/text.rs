//! How paths and times look in JSON.

use std::borrow::Cow;
use std::fmt;

use offshoot_engine::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::path::{PathError, PoolPath, text};

/// Bytes of a path, a name or a value: a JSON string if they are UTF-8, else `{"hex": "2f61ff"}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathText(pub Vec<u8>);

/// A time: RFC 3339 in UTC, to the nanosecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

impl PathText {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As an absolute path in a pool.
    ///
    /// # Errors
    /// See [`PathError`].
    pub fn to_pool_path(&self) -> Result<PoolPath, PathError> {
        PoolPath::parse(&self.0)
    }
}

impl From<Vec<u8>> for PathText {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&str> for PathText {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<&PoolPath> for PathText {
    fn from(path: &PoolPath) -> Self {
        Self(path.as_bytes().to_vec())
    }
}

impl fmt::Display for PathText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text(&self.0))
    }
}

impl fmt::Debug for PathText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for PathText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let hex: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("hex", &hex)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for PathText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = PathText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or {\"hex\": \"...\"}")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<PathText, E> {
                Ok(PathText::from(text))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PathText, A::Error> {
                let Some((key, hex)) = map.next_entry::<String, String>()? else {
                    return Err(de::Error::missing_field("hex"));
                };
                if key != "hex" {
                    return Err(de::Error::unknown_field(&key, &["hex"]));
                }
                if map.next_key::<String>()?.is_some() {
                    return Err(de::Error::custom("only the field `hex` is known here"));
                }
                from_hex(&hex)
                    .map(PathText)
                    .ok_or_else(|| de::Error::custom("`hex` needs pairs of hexadecimal digits"))
            }
        }
        deserializer.deserialize_any(Bytes)
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits =
        text.as_bytes().iter().map(|byte| char::from(*byte).to_digit(16)).collect::<Option<Vec<_>>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| (high << 4 | low) as u8).collect())
}

impl JsonSchema for PathText {
    fn inline_schema() -> bool {
        false
    }

    fn schema_name() -> Cow<'static, str> {
        "PathText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Bytes: a string if they are UTF-8, else an object with hexadecimal digits.",
            "oneOf": [
                { "type": "string" },
                {
                    "type": "object",
                    "properties": { "hex": { "type": "string", "pattern": "^([0-9a-fA-F]{2})*$" } },
                    "required": ["hex"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

impl From<Timestamp> for Time {
    fn from(time: Timestamp) -> Self {
        Self(time)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::time::rfc3339(self.0))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        crate::time::parse(&text).map(Self).map_err(de::Error::custom)
    }
}

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_survive_json() {
        for bytes in [&b"/a/\xc3\xa9"[..], b"/a\xff\x00", b""] {
            let path = PathText(bytes.to_vec());
            let json = serde_json::to_string(&path).unwrap();
            assert_eq!(serde_json::from_str::<PathText>(&json).unwrap(), path, "{json}");
        }
        assert_eq!(serde_json::to_string(&PathText(b"/\xff".to_vec())).unwrap(), r#"{"hex":"2fff"}"#);
    }

    #[test]
    fn other_shapes_are_refused() {
        for json in
            [r#"{"hex":"2"}"#, r#"{"hex":"zz"}"#, r#"{"text":"/a"}"#, r#"{"hex":"2f","b":"c"}"#, "{}", "7"]
        {
            assert!(serde_json::from_str::<PathText>(json).is_err(), "{json}");
        }
    }
}
