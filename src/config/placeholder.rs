//! Fills `${NAME}` and `${credential:NAME}` into the URL of a server or a ping, or into a token.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Surroundings;
use super::problem::Problem;

/// Fills in every placeholder of `template`, the value of `key`.
///
/// A value that lands between `://` and `@` is a user or a password and is percent-encoded, so that
/// a password may hold any character; elsewhere (a host, or a whole URL) it is taken as it is.
pub fn fill(key: &str, template: &str, from: &Surroundings<'_>) -> Result<String, Problem> {
    let user_info = match (template.find("://"), template.rfind('@')) {
        (Some(begin), Some(end)) => begin..end,
        _ => 0..0,
    };
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, next) =
            after.split_once('}').ok_or_else(|| Problem::OpenPlaceholder(key.to_owned()))?;
        let place = template.len() - after.len();
        let value = match name.strip_prefix("credential:") {
            Some(file) => (from.credential)(file),
            None => (from.variable)(name),
        };
        let value = value.map_err(|reason| {
            let (key, placeholder) = (key.to_owned(), name.to_owned());
            Problem::Placeholder { key, placeholder, reason }
        })?;
        filled.push_str(before);
        if user_info.contains(&place) {
            filled.extend(utf8_percent_encode(&value, NON_ALPHANUMERIC));
        } else {
            filled.push_str(&value);
        }
        rest = next;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// What stands between the braces, if `text` is one placeholder and nothing else. A shell's
/// `${NAME:-value}` is none: its value would be shown as if it were a name.
pub fn only(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("${")?.strip_suffix('}')?;
    let name = inner.strip_prefix("credential:").unwrap_or(inner);
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    (!name.is_empty() && name.chars().all(is_name)).then_some(inner)
}
