//! Where on a line of jobs.toml the path of a ping's URL may stand, so that no error shows it.

use std::ops::Range;

/// The keys behind which a ping's URL stands.
const KEYS: [&str; 3] = ["ping", "success", "failure"];
const SCHEMES: [&str; 2] = ["http://", "https://"];

/// Whether the header `[jobs.NAME.ping]` begins on this line.
pub fn opens_ping(line: &str) -> bool {
    let header = line.trim_start_matches('[').split(']').next().unwrap_or_default();
    let last = header.rsplit('.').next().unwrap_or_default();
    let name = last.trim_matches(|c: char| c.is_whitespace() || c == '"' || c == '\'');
    // `[jobs.ping]` is a job of that name.
    name == "ping" && header.matches('.').count() >= 2
}

/// Every part of a line that may be the secret of a ping: the values behind its keys, whatever they
/// look like, and the path of each web address, whatever key it stands behind. One of the two may be
/// misspelt.
pub fn of_pings(line: &str, in_ping: bool) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    if let Some(from) = if in_ping { Some(0) } else { first_key(line) } {
        values(line, from, &mut found);
    }
    for scheme in SCHEMES {
        let lower = line.to_ascii_lowercase();
        for (begin, _) in lower.match_indices(scheme) {
            let is_end = |c: char| c.is_whitespace() || c == '"' || c == '\'';
            let rest = line.get(begin..).unwrap_or_default();
            let end = begin + rest.find(is_end).unwrap_or(rest.len());
            found.extend(secret_in(line, begin..end));
        }
    }
    found
}

/// The ranges in order, those that touch made one.
pub fn merged(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

fn first_key(line: &str) -> Option<usize> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let is_key = |at: usize, key: &str| {
        let (before, after) = line.split_at(at);
        let after = after.get(key.len()..).unwrap_or_default();
        !before.ends_with(is_word) && !after.starts_with(is_word) && after.contains('=')
    };
    let place = |key: &&str| line.match_indices(*key).map(|(at, _)| at).find(|at| is_key(*at, key));
    KEYS.iter().filter_map(place).min()
}

/// The values behind each `=` from `from` on; all the rest of the line where one has no end.
fn values(line: &str, from: usize, found: &mut Vec<Range<usize>>) {
    let end = line.trim_end().len();
    let mut at = from;
    while let Some(equals) = line.get(at..end).and_then(|rest| rest.find('=')) {
        let behind = line.get(at + equals + 1..end).unwrap_or_default();
        let begin = end - behind.trim_start().len();
        let value = behind.trim_start();
        at = begin;
        match value.chars().next() {
            None => return,
            Some('{') => {}
            Some(quote @ ('"' | '\'')) => match closing(value, quote) {
                Some(length) => {
                    found.extend(secret_in(line, begin + 1..begin + length));
                    at = begin + length + 1;
                }
                None => return found.push(begin..end),
            },
            Some(_) => {
                let length = value.find([',', '}', ' ', '#']).unwrap_or(value.len());
                let bare = value.get(..length).unwrap_or_default();
                if !["true", "false"].contains(&bare) && bare.parse::<f64>().is_err() {
                    return found.push(begin..end);
                }
            }
        }
    }
}

/// Where the string that begins `value` ends.
fn closing(value: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    value.char_indices().skip(1).find_map(|(at, c)| {
        let ends = c == quote && !is_escaped;
        is_escaped = c == '\\' && quote == '"' && !is_escaped;
        ends.then_some(at)
    })
}

/// The part of a value that must not be shown: all of it, unless it is a placeholder or begins as a
/// web address without a password does; then what follows the host.
fn secret_in(line: &str, value: Range<usize>) -> Option<Range<usize>> {
    let text = line.get(value.clone())?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_:.-".contains(c);
    let inside = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    if inside.is_some_and(|name| name.chars().all(is_name)) {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let mut shown = 0;
    if let Some(scheme) = SCHEMES.iter().find(|scheme| lower.starts_with(**scheme)) {
        shown = scheme.len();
        let behind = text.get(shown..)?;
        let length = behind.find(['/', '?', '#']).unwrap_or(behind.len());
        let host = behind.get(..length)?;
        // What stands in the place of a port and is none may be a password with a raw `/`.
        let port = host.rsplit_once(':').map_or("", |(_, port)| port);
        let is_port = port.bytes().all(|b| b.is_ascii_digit()) || host.ends_with([']', '}']);
        if is_port && !text.contains(['@', '\\']) {
            shown += length + usize::from(length < behind.len());
        }
    }
    (shown < text.len()).then_some(value.start + shown..value.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str, in_ping: bool) -> String {
        let mut text = line.to_owned();
        for range in merged(of_pings(line, in_ping)).into_iter().rev() {
            text.replace_range(range, "***");
        }
        text
    }

    #[test]
    fn the_host_of_a_ping_is_shown_and_nothing_behind_it() {
        for (line, want) in [
            (r#"success = "https://h.example/uuid""#, r#"success = "https://h.example/***""#),
            (r#"success = "https://h:8000?uuid" # x"#, r#"success = "https://h:8000?***" # x"#),
            (r#"success = "https://u:p/w@h/uuid""#, r#"success = "https://***""#),
            (r#"success = "https://u:p/w""#, r#"success = "https://***""#),
            (r#"success = "https://[::1]/w""#, r#"success = "https://[::1]/***""#),
            (r#"success = 'h.example/uuid'"#, "success = '***'"),
            (r#"success = "uu\"id" # x"#, r#"success = "***" # x"#),
            (r#"success = "https://h/uuid"#, "success = ***"),
            ("success = https://h/uuid", "success = ***"),
            (r#"success = "${PING}""#, r#"success = "${PING}""#),
            ("success = 5", "success = 5"),
            (r#"success = """#, r#"success = """#),
            (
                r#"j = { query = "q", ping = { success = "http://h/a", failure = "b" } }"#,
                r#"j = { query = "q", ping = { success = "http://h/***", failure = "***" } }"#,
            ),
            (r#"jobs.j.ping.failure = "uuid""#, r#"jobs.j.ping.failure = "***""#),
            (r#"pong = { sucess = "HTTPS://h/uuid" }"#, r#"pong = { sucess = "HTTPS://h/***" }"#),
            (r#"timeout = "5m""#, r#"timeout = "5m""#),
            (r#"shipping = "5m""#, r#"shipping = "5m""#),
        ] {
            assert_eq!(shown(line, false), want);
        }
        assert_eq!(shown(r#"sucess = "h/uuid""#, true), r#"sucess = "***""#);
    }

    #[test]
    fn the_table_of_a_ping_is_told_from_a_job_of_that_name() {
        for (line, opens) in [
            ("[jobs.j.ping]", true),
            ("[ jobs . \"j\" . \"ping\" ] # x", true),
            ("[jobs.ping]", false),
            ("[jobs.ping.target]", false),
        ] {
            assert_eq!(opens_ping(line), opens, "{line}");
        }
    }
}
