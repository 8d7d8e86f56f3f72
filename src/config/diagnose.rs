//! Shows the problems of a jobs.toml: file, line, column, the line itself, a caret, the way out.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use url::Url;

use super::mask;
use super::placeholder;
use super::problem::Problem;

/// Everything that is wrong with one jobs.toml. `Display` shows all of it, passwords masked.
#[derive(Debug, Clone)]
pub struct ConfigErrors {
    file: String,
    text: String,
    problems: Vec<(Range<usize>, Problem)>,
}

impl ConfigErrors {
    /// The problems of `text`, which people know as `file`.
    pub(super) fn new(file: &str, text: &str, problems: Vec<(Range<usize>, Problem)>) -> Self {
        let (text, cuts) = mask_passwords(text);
        let moved = |(span, problem)| (shift(&span, &cuts, text.len()), problem);
        let problems = problems.into_iter().map(moved).collect();
        Self { file: file.to_owned(), text, problems }
    }

    /// What is wrong, in the order of the text.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().map(|(_, problem)| problem)
    }

    /// How many problems there are; never 0.
    #[must_use]
    pub fn count(&self) -> usize {
        self.problems.len()
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let renderer = Renderer::plain();
        for (span, problem) in &self.problems {
            let snippet = Snippet::source(&self.text)
                .path(&self.file)
                .annotation(AnnotationKind::Primary.span(first_line(&self.text, span)));
            let message = problem.to_string();
            let mut group = Level::ERROR.primary_title(&message).element(snippet);
            if let Some(help) = problem.help() {
                group = group.element(Level::HELP.message(help));
            }
            writeln!(f, "{}\n", renderer.render(&[group]))?;
        }
        let (count, s) = (self.problems.len(), if self.problems.len() == 1 { "" } else { "s" });
        write!(f, "{}: {count} problem{s}; nothing was changed", self.file)
    }
}

/// A mark that spans many lines hides the point: only its first line is shown.
fn first_line(text: &str, span: &Range<usize>) -> Range<usize> {
    let marked = text.get(span.clone()).unwrap_or_default();
    let length = marked.find('\n').unwrap_or(marked.len());
    span.start..span.start + length
}

/// A piece of the text that was replaced: where it was, and how long its mask is.
struct Cut {
    was: Range<usize>,
    mask: usize,
}

const MASK: &str = "***";

/// Masks what may be a secret: the offending line is shown to people, and a password never is.
///
/// In the tables of servers every value is masked but a URL that plainly has no password in it,
/// placeholders apart; in `[admin]`, every value but those that are known to be none; elsewhere, the
/// value of a key that is named like a secret, whatever stands between `://user:` and `@`, and of a
/// ping all but its host.
fn mask_passwords(text: &str) -> (String, Vec<Cut>) {
    let mut shown = String::with_capacity(text.len());
    let mut cuts = Vec::new();
    let mut at = 0;
    let (mut table, mut is_plain, mut in_ping) = (Part::Open, false, false);
    for line in text.split_inclusive('\n') {
        let begin = line.trim_start();
        if begin.starts_with('[') {
            (table, is_plain) = (Part::named(begin.trim_start_matches('[')), false);
            in_ping = mask::opens_ping(begin);
        }
        let part = match table {
            Part::Open if begin.contains(['.', '{']) => Part::named(begin),
            _ => table,
        };
        if begin.contains('{') && !begin.contains('}') {
            // An inline table over several lines: what follows belongs to it.
            table = part;
        }
        let has_key = !begin.starts_with('#');
        let key = begin.split_once('=').filter(|_| has_key).map(|(key, _)| last_name(key));
        let secret = match part {
            Part::Servers => value(line),
            Part::Admin => {
                // A value over several lines is like its first one.
                if let Some(key) = &key {
                    is_plain = PLAIN.contains(&key.as_str()) && line.matches('=').count() == 1;
                }
                if is_plain { password(line) } else { closed_value(line) }
            }
            Part::Open if key.is_some_and(|key| SECRET.iter().any(|w| key.contains(w))) => {
                closed_value(line)
            }
            Part::Open => password(line),
        };
        let mut secrets: Vec<Range<usize>> = secret.into_iter().collect();
        if let Part::Open = part {
            secrets.extend(mask::of_pings(line, in_ping));
        }
        let mut done = 0;
        for secret in mask::merged(secrets) {
            shown.push_str(line.get(done..secret.start).unwrap_or_default());
            shown.push_str(MASK);
            done = secret.end;
            cuts.push(Cut { was: at + secret.start..at + secret.end, mask: MASK.len() });
        }
        shown.push_str(line.get(done..).unwrap_or_default());
        at += line.len();
    }
    (shown, cuts)
}

/// The keys of `[admin]` that hold no secret.
const PLAIN: [&str; 3] = ["listen", "hosts", "allow_remote"];
/// What the name of a key is like whose value is a secret, wherever it was put by mistake.
const SECRET: [&str; 3] = ["token", "password", "secret"];

/// Which part of the file a line belongs to.
#[derive(Clone, Copy)]
enum Part {
    Servers,
    Admin,
    Open,
}

impl Part {
    fn named(text: &str) -> Self {
        let name = text.trim_start_matches([' ', '\t', '"', '\'']);
        match () {
            () if name.starts_with("mysql") || name.starts_with("redis") => Self::Servers,
            () if name.starts_with("admin") => Self::Admin,
            () => Self::Open,
        }
    }
}

/// The last name of a dotted key, without its quotes.
fn last_name(key: &str) -> String {
    let last = key.rsplit('.').next().unwrap_or_default();
    last.trim_matches([' ', '\t', '"', '\'']).to_ascii_lowercase()
}

/// Where the value stands on a line, unless it is nothing but the name of a placeholder.
fn closed_value(line: &str) -> Option<Range<usize>> {
    let range = written_value(line)?;
    let text = line.get(range.clone())?;
    let inside = |quote| text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    let quoted = inside('"').or_else(|| inside('\''));
    quoted.and_then(placeholder::only).is_none().then_some(range)
}

/// Where whatever stands behind the `=` of a line is; all of it in a line without one.
fn written_value(line: &str) -> Option<Range<usize>> {
    let trimmed = line.trim();
    if trimmed.is_empty() || trimmed.starts_with(['[', '#']) {
        return None;
    }
    let begin = line.find('=').map_or(0, |equals| equals + 1);
    let end = line.trim_end().len();
    let written = line.get(begin..end)?;
    let begin = begin + written.len() - written.trim_start().len();
    (begin < end).then_some(begin..end)
}

/// Where the value stands on a line of a server's table, if it may hold a secret.
fn value(line: &str) -> Option<Range<usize>> {
    let range = written_value(line)?;
    let text = line.get(range.clone())?;
    // A number, a truth value or an empty table in the place of a URL hides nothing.
    if ["true", "false"].contains(&text)
        || text.bytes().all(|b| b.is_ascii_digit() || b"{}[]., ".contains(&b))
    {
        return None;
    }
    (!has_no_password(text)).then_some(range)
}

/// Whether a quoted URL has, apart from placeholders, no password and nothing that could be one.
fn has_no_password(quoted: &str) -> bool {
    let Some(mut rest) = quoted.strip_prefix('"').and_then(|q| q.strip_suffix('"')) else {
        return false;
    };
    let mut plain = String::new();
    while let Some((before, after)) = rest.split_once("${") {
        plain.push_str(before);
        if before.ends_with("://") {
            plain.push_str("host");
        }
        // A placeholder that was not closed is a name up to the end, or it is not shown.
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_:.-".contains(c);
        rest = match after.split_once('}') {
            Some((_, next)) => next,
            None if after.chars().all(is_name) => "",
            None => return false,
        };
    }
    plain.push_str(rest);
    Url::parse(&plain).is_ok_and(|url| {
        let behind = [url.path(), url.query().unwrap_or(""), url.fragment().unwrap_or("")];
        url.has_host()
            && url.password().is_none_or(str::is_empty)
            && !behind.iter().any(|part| part.contains('@'))
    })
}

/// Where the password stands in a line. Up to the last `@`: a password may hold one itself.
fn password(line: &str) -> Option<Range<usize>> {
    let authority = line.find("://")? + 3;
    let end = line.rfind('@').filter(|end| *end > authority)?;
    let colon = authority + line.get(authority..end)?.find(':')?;
    (colon + 1 < end).then_some(colon + 1..end)
}

/// Where a span of the original lies after the cuts.
fn shift(span: &Range<usize>, cuts: &[Cut], length: usize) -> Range<usize> {
    let moved = |place: usize| {
        let mut shifted = place;
        for cut in cuts {
            if cut.was.end <= place {
                shifted = (shifted + cut.mask).saturating_sub(cut.was.len());
            } else if cut.was.start < place {
                shifted -= place - cut.was.start;
            }
        }
        shifted.min(length)
    };
    moved(span.start)..moved(span.end).max(moved(span.start))
}
