//! JSON as it is taken from outside: where a key comes twice, two readers could understand two things, so nobody does.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// What is repeated of a key that comes twice, in characters.
const SHOWN: usize = 64;

/// Reads a whole text.
///
/// # Errors
/// It is not JSON, is nested more than 127 levels deep, or has a key twice in one object.
pub fn read(text: &[u8]) -> Result<Value, serde_json::Error> {
    let mut from = serde_json::Deserializer::from_slice(text);
    let value = Once.deserialize(&mut from)?;
    from.end()?;
    Ok(value)
}

/// A value in which each key of an object comes once.
struct Once;

impl<'de> DeserializeSeed<'de> for Once {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Once {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(Self)? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if all.contains_key(&key) {
                let key: String = key.chars().take(SHOWN).collect();
                return Err(Error::custom(format!("`{key}` comes twice in one object")));
            }
            let value = entries.next_value_seed(Self)?;
            all.insert(key, value);
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_without_a_key_that_comes_twice_is_read_as_it_is() {
        for text in [
            "null",
            "true",
            "-1",
            "18446744073709551615",
            "1.5e3",
            "\"a\\u0000\\ud83d\\ude00\"",
            "[]",
            "{}",
            "[1,[{\"a\":{\"a\":[]}},{\"a\":\"a\"}]]",
            "{\"$serde_json::private::RawValue\":\"[1]\"}",
            "{\"$serde_json::private::Number\":\"1\"}",
        ] {
            let read = read(text.as_bytes()).unwrap();
            assert_eq!(
                read.to_string(),
                text.replace("1.5e3", "1500.0").replace("\\ud83d\\ude00", "😀")
            );
        }
    }

    #[test]
    fn a_key_that_comes_twice_in_one_object_is_refused_at_every_level() {
        for text in
            [r#"{"a":1,"a":1}"#, r#"{"a":1,"b":2,"\u0061":3}"#, r#"[{"b":[{"c":{"a":1,"a":2}}]}]"#]
        {
            let error = read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("`a` comes twice in one object at line 1"), "{error}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["", "{", "{}{}", "{\"a\" 1}", "[1,]", "nul", "1e999", "\u{feff}{}"] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
        assert!(read(b"\"\xff\"").is_err());
    }

    /// A connection's thread has no more than that.
    #[test]
    fn nesting_is_bounded_far_below_the_stack_of_a_connection() {
        let in_thread = || {
            for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
                let nested = |depth| format!("{}1{}", open.repeat(depth), close.repeat(depth));
                assert!(read(nested(127).as_bytes()).is_ok());
                for depth in [128, 50_000] {
                    assert!(read(nested(depth).as_bytes()).is_err());
                }
                assert!(read(open.repeat(50_000).as_bytes()).is_err());
            }
        };
        let thread = std::thread::Builder::new().stack_size(256 * 1024).spawn(in_thread);
        thread.unwrap().join().unwrap();
    }
}
