//! The YAML of a matrix or of a workflow, as a tree with the line and column of everything. Scalars are kept as they
//! were written: `3.10` is a text, not the number 3.1.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use crate::plan::{Place, Text};

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) line: u64,
    pub(crate) column: u64,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// Parses `text`.
    ///
    /// # Errors
    /// The text isn't YAML, or is built to waste time or memory. The error has the place, if the parser knows
    /// it, and the parser's message.
    pub(crate) fn parse(text: &str) -> Result<Self, (u64, u64, String)> {
        let options = serde_saphyr::options! {
            // A matrix with 2,000 variants, written in full, has about 100,000 nodes.
            budget: serde_saphyr::budget! {
                max_documents: 1,
                max_depth: 32,
                max_nodes: 1_000_000,
                max_events: 2_000_000,
            },
            alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 200_000 },
            with_snippet: false,
        };
        let raw: Spanned<Raw> = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let place = error.location().unwrap_or(Location::UNKNOWN);
            // The place is shown separately.
            let message = error.without_snippet().to_string();
            let message = message.split(" at line ").next().unwrap_or(&message);
            // Advice for Rust programs isn't shown either.
            let message = message.split(", set DuplicateKeyPolicy").next().unwrap_or(message).to_owned();
            (place.line().max(1), place.column().max(1), message)
        })?;
        Ok(raw.node(text))
    }

    /// The value of a key of a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(name, _)| name.as_text() == Some(key)).map(|(_, value)| value)
    }

    /// The keys and values of a mapping; empty for other values.
    pub(crate) fn entries(&self) -> &[(Self, Self)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; empty for other values.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The text, if it is one.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether the value is missing or `null`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    pub(crate) fn place(&self, of: &Text) -> Place {
        Place::Line { of: of.clone(), line: self.line, column: self.column }
    }

    /// The kind of value, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

/// The value as serde sees it. Scalars that aren't text for serde are read from the source text.
enum Raw {
    Null,
    Text(String),
    Scalar(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

trait IntoNode {
    fn node(self, source: &str) -> Node;
}

impl IntoNode for Spanned<Raw> {
    fn node(self, source: &str) -> Node {
        let value = match self.value {
            Raw::Null => Value::Null,
            Raw::Text(text) => Value::Text(text),
            Raw::Scalar(read) => Value::Text(written(source, self.defined).map_or(read, str::to_owned)),
            Raw::List(items) => Value::List(items.into_iter().map(|item| item.node(source)).collect()),
            Raw::Map(entries) => {
                Value::Map(entries.into_iter().map(|(key, value)| (key.node(source), value.node(source))).collect())
            }
        };
        Node { line: self.referenced.line(), column: self.referenced.column(), value }
    }
}

fn written(source: &str, place: Location) -> Option<&str> {
    let start = usize::try_from(place.span().byte_offset()?).ok()?;
    let length = usize::try_from(place.span().byte_len()?).ok()?;
    source.get(start..start.checked_add(length)?).map(str::trim).filter(|text| !text.is_empty())
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RawVisitor;

        impl<'de> Visitor<'de> for RawVisitor {
            type Value = Raw;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text, a list or a mapping")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
                Ok(Raw::Scalar(value.to_string()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
                Ok(Raw::Scalar(value.to_string()))
            }

            fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
                Ok(Raw::Scalar(value.to_string()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
                Ok(Raw::Scalar(value.to_string()))
            }

            fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
                Ok(Raw::Scalar(value.to_string()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
                Ok(Raw::Scalar(value.to_string()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
                Ok(Raw::Text(value.to_owned()))
            }

            fn visit_unit<E>(self) -> Result<Raw, E> {
                Ok(Raw::Null)
            }

            fn visit_none<E>(self) -> Result<Raw, E> {
                Ok(Raw::Null)
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
                Raw::deserialize(deserializer)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = access.next_element()? {
                    items.push(item);
                }
                Ok(Raw::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = access.next_entry()? {
                    entries.push(entry);
                }
                Ok(Raw::Map(entries))
            }
        }

        deserializer.deserialize_any(RawVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_stay_as_they_were_written() {
        let node = Node::parse("versions: [3.10, 0755, yes, 1_000, \"3.9\", 'a', ~, 1e3]\nother: &x 3.20\nalias: *x\n")
            .unwrap();
        let Value::Map(entries) = node.value else { panic!("no mapping") };
        let Value::List(items) = &entries[0].1.value else { panic!("no list") };
        let texts: Vec<_> =
            items.iter().map(|item| if let Value::Text(text) = &item.value { text } else { "null" }).collect();
        assert_eq!(texts, ["3.10", "0755", "yes", "1_000", "3.9", "a", "null", "1e3"]);
        assert_eq!((items[1].line, items[1].column), (1, 18));
        assert!(matches!(&entries[1].1.value, Value::Text(text) if text == "3.20"), "{:?}", entries[1]);
        assert!(matches!(&entries[2].1.value, Value::Text(text) if text == "3.20"), "{:?}", entries[2]);
        assert_eq!(entries[2].1.line, 3);
    }

    #[test]
    fn a_syntax_error_has_a_place() {
        let (line, column, message) = Node::parse("variants:\n  - base: [alpine\n  - x").unwrap_err();
        assert!(line >= 2 && column >= 1, "{line}:{column}: {message}");
    }
}
