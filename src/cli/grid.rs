//! A table of text: columns as wide as their widest cell, coloured on a terminal only.

use std::env;
use std::io::{self, IsTerminal, Write};

use clap::builder::styling::{AnsiColor, Style};

/// How a cell stands out where there is colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    /// The heads of columns.
    Head,
    Good,
    Warning,
    Bad,
}

impl Tone {
    /// Of a run's outcome or a job's state.
    pub(super) fn of(word: &str) -> Self {
        match word {
            "clean" | "repaired" => Self::Good,
            "failed" | "refused" | "broken" | "interrupted" => Self::Bad,
            "partial" | "drift" | "missed" | "skipped" | "paused" => Self::Warning,
            _ => Self::Plain,
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Head => Style::new().bold(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Warning => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
        }
    }
}

/// Rows of cells; a row may be shorter than the others.
#[derive(Debug, Default)]
pub(super) struct Grid {
    rows: Vec<Vec<(String, Tone)>>,
}

impl Grid {
    pub(super) fn head(&mut self, names: &[&str]) {
        self.rows.push(names.iter().map(|name| ((*name).to_owned(), Tone::Head)).collect());
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = (String, Tone)>) {
        let clean = |(text, tone): (String, Tone)| (printable(&text), tone);
        self.rows.push(cells.into_iter().map(clean).collect());
    }

    /// Prints it with this before each line.
    pub(super) fn print(&self, indent: &str, colour: bool, out: &mut impl Write) -> io::Result<()> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|(text, _)| text.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let filled = row.iter().rposition(|(text, _)| !text.is_empty()).map_or(0, |at| at + 1);
            write!(out, "{}", if filled == 0 { "" } else { indent })?;
            for (at, ((text, tone), width)) in row.iter().zip(&widths).take(filled).enumerate() {
                let style = if colour { tone.style() } else { Style::new() };
                write!(out, "{style}{text}{style:#}")?;
                if at + 1 < filled {
                    // Not by the formatter: it would count the colour as well.
                    let room = (width + 2).saturating_sub(text.chars().count());
                    write!(out, "{:room$}", "")?;
                }
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

/// Whether standard output is a terminal that wants colour (no-color.org).
pub(super) fn colour() -> bool {
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb
}

/// One line without what a terminal would obey, or would show in another order than it was written.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if is_obeyed(c) { ' ' } else { c }).collect()
}

/// Several lines of the same kind.
pub(super) fn printable_lines(text: &str) -> String {
    text.chars().map(|c| if is_obeyed(c) && c != '\n' { ' ' } else { c }).collect()
}

/// Control characters, those of C1 included, and the ones that change the direction of text.
pub(super) fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(grid: &Grid, colour: bool) -> String {
        let mut out = Vec::new();
        grid.print("  ", colour, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_end_with_their_text() {
        let mut grid = Grid::default();
        grid.head(&["NAME", "STATE", "X"]);
        let plain = |text: &str| (text.to_owned(), Tone::Plain);
        grid.row([plain("é-articles"), plain("broken"), plain("")]);
        grid.row([plain("a\x1b[31m"), plain(""), plain("y\nz")]);
        assert_eq!(
            text(&grid, false),
            "  NAME        STATE   X\n  é-articles  broken\n  a [31m              y z\n"
        );
    }

    #[test]
    fn colour_changes_no_width() {
        let mut grid = Grid::default();
        grid.row([("bad".to_owned(), Tone::Bad), ("x".to_owned(), Tone::Plain)]);
        assert_eq!(text(&grid, true), "  \u{1b}[1m\u{1b}[31mbad\u{1b}[0m  x\n");
    }
}
