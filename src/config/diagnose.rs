//! Shows the problems of a jobs.toml: file, line, column, the line itself, a caret, the way out.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use url::Url;

use super::mask;
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
/// placeholders apart; elsewhere, whatever stands between `://user:` and `@`, and of a ping all but
/// its host.
fn mask_passwords(text: &str) -> (String, Vec<Cut>) {
    let mut shown = String::with_capacity(text.len());
    let mut cuts = Vec::new();
    let mut at = 0;
    let (mut in_server, mut in_ping) = (false, false);
    for line in text.split_inclusive('\n') {
        let begin = line.trim_start();
        if begin.starts_with('[') {
            in_server = names_server(begin.trim_start_matches('['));
            in_ping = mask::opens_ping(begin);
        }
        let of_server = in_server || (names_server(begin) && begin.contains(['.', '{']));
        let secrets = if of_server {
            value(line).into_iter().collect()
        } else {
            let mut secrets = mask::of_pings(line, in_ping);
            secrets.extend(password(line));
            mask::merged(secrets)
        };
        let mut done = 0;
        for secret in secrets {
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

fn names_server(text: &str) -> bool {
    let name = text.trim_start_matches([' ', '"', '\'']);
    ["mysql", "redis"].iter().any(|kind| name.starts_with(kind))
}

/// Where the value stands on a line of a server's table, if it may hold a secret.
fn value(line: &str) -> Option<Range<usize>> {
    let trimmed = line.trim();
    if trimmed.is_empty() || trimmed.starts_with(['[', '#']) {
        return None;
    }
    let begin = line.find('=').map_or(0, |equals| equals + 1);
    let end = line.trim_end().len();
    let begin = begin + line.get(begin..end)?.len() - line.get(begin..end)?.trim_start().len();
    let text = line.get(begin..end)?;
    // A number, a truth value or an empty table in the place of a URL hides nothing.
    if ["true", "false"].contains(&text)
        || text.bytes().all(|b| b.is_ascii_digit() || b"{}[]., ".contains(&b))
    {
        return None;
    }
    (!text.is_empty() && !has_no_password(text)).then_some(begin..end)
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
