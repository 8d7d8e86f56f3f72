//! docs/benchmarks.md: each benchmark has a section of it between two markers, and leaves the rest alone.

use std::fs;
use std::path::Path;

/// Puts `text` between the markers of the section `name`.
pub fn rewrite(path: &Path, name: &str, text: &str) {
    let page = fs::read_to_string(path).expect("the page of benchmarks is there");
    let page = replaced(&page, name, text).expect("the page has both markers of the section");
    fs::write(path, page).expect("the page can be written");
}

fn replaced(page: &str, name: &str, text: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n\n{}\n\n{end}{after}", text.trim()))
}
