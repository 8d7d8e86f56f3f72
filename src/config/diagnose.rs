//! Shows the problems of a jobs.toml: file, line, column, the line itself, a caret, the way out.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

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

/// Replaces what stands between `://user:` and `@` on a line, placeholders excepted: the offending
/// line is shown to people, and a password never is.
fn mask_passwords(text: &str) -> (String, Vec<Cut>) {
    let mut shown = String::with_capacity(text.len());
    let mut cuts = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        match password(line) {
            Some(secret) => {
                shown.push_str(line.get(..secret.start).unwrap_or_default());
                shown.push_str(MASK);
                shown.push_str(line.get(secret.end..).unwrap_or_default());
                cuts.push(Cut { was: at + secret.start..at + secret.end, mask: MASK.len() });
            }
            None => shown.push_str(line),
        }
        at += line.len();
    }
    (shown, cuts)
}

/// Where the password stands in a line. Up to the last `@`: a password may hold one itself.
fn password(line: &str) -> Option<Range<usize>> {
    let authority = line.find("://")? + 3;
    let end = line.rfind('@').filter(|end| *end > authority)?;
    let colon = authority + line.get(authority..end)?.find(':')?;
    let secret = line.get(colon + 1..end)?;
    let is_placeholder = secret.starts_with("${") && secret.find('}') == Some(secret.len() - 1);
    (!secret.is_empty() && !is_placeholder).then_some(colon + 1..end)
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
