//! A parser of OpenMetrics 1.0 text that refuses what the standard refuses. It knows nothing of the library that
//! writes the pages.

// Every test binary compiles its own copy of this module and uses only a part of it.
#![allow(dead_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

/// The series of a page by name and labels, as in `name{a=1,b=2}`, the labels in the order of the alphabet.
pub struct Page(BTreeMap<String, f64>);

type Labels = Vec<(String, String)>;

#[derive(Default)]
struct Family {
    name: String,
    kind: String,
    unit: String,
    help: String,
    /// The samples in their order: name, labels, value.
    samples: Vec<(String, Labels, f64)>,
}

impl Page {
    /// Reads a page, and panics at what no scraper would take.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("a page ends with # EOF");
        assert!(body.is_empty() || body.ends_with('\n'), "the last line is whole");
        let mut families: Vec<Family> = Vec::new();
        for line in body.lines() {
            match line.strip_prefix("# ") {
                Some(about) => describe(about, &mut families),
                None => {
                    let (name, labels, value) = sample(line);
                    let family = families.last_mut().expect("a family before its samples");
                    family.samples.push((name, labels, value));
                }
            }
        }
        let mut names = BTreeSet::new();
        let mut page = BTreeMap::new();
        for family in families {
            assert!(names.insert(family.name.clone()), "{} comes twice", family.name);
            family.check();
            for (name, mut labels, value) in family.samples {
                labels.sort();
                let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
                let braces = |text: String| format!("{{{text}}}");
                let labels = Some(labels.join(","))
                    .filter(|l| !l.is_empty())
                    .map_or_else(String::new, braces);
                let series = format!("{name}{labels}");
                assert!(page.insert(series.clone(), value).is_none(), "{series} comes twice");
            }
        }
        Self(page)
    }

    pub fn get(&self, series: &str) -> Option<f64> {
        self.0.get(series).copied()
    }

    #[track_caller]
    pub fn value(&self, series: &str) -> f64 {
        self.get(series).unwrap_or_else(|| panic!("there is no {series}"))
    }

    /// The sum over the series of this name.
    pub fn sum(&self, name: &str) -> f64 {
        let of = |series: &str| series.split('{').next() == Some(name);
        self.0.iter().filter(|(series, _)| of(series)).map(|(_, value)| value).sum()
    }

    /// How many series there are.
    pub fn series(&self) -> usize {
        self.0.len()
    }

    /// The names of all series, without their labels.
    pub fn names(&self) -> BTreeSet<String> {
        self.0.keys().map(|series| series.split('{').next().unwrap().to_owned()).collect()
    }

    /// The values of a label, over the series of this name.
    pub fn labels(&self, name: &str, label: &str) -> BTreeSet<String> {
        let begin = format!("{label}=");
        let inside = |series: &str| {
            let labels = series.strip_prefix(name)?.strip_prefix('{')?.strip_suffix('}')?;
            labels.split(',').find_map(|pair| pair.strip_prefix(&begin)).map(str::to_owned)
        };
        self.0.keys().filter_map(|series| inside(series)).collect()
    }
}

/// `TYPE`, `UNIT` or `HELP`, which may only stand before the samples of their family.
fn describe(about: &str, families: &mut Vec<Family>) {
    let (word, rest) = about.split_once(' ').expect("a word");
    let (name, text) = rest.split_once(' ').expect("a name and a text");
    assert!(is_name(name), "{name}");
    if families.last().is_none_or(|family| family.name != name) {
        families.push(Family { name: name.to_owned(), ..Family::default() });
    }
    let family = families.last_mut().unwrap();
    assert!(family.samples.is_empty(), "{about} after a sample");
    let place = match word {
        "TYPE" => &mut family.kind,
        "UNIT" => &mut family.unit,
        "HELP" => &mut family.help,
        word => panic!("{word}"),
    };
    assert!(place.is_empty(), "{about} comes twice");
    assert!(!text.is_empty() && !text.contains(['"', '\\']), "{about}");
    *place = text.to_owned();
}

fn is_name(name: &str) -> bool {
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(is_first) && name.chars().all(|c| is_first(c) || c.is_ascii_digit())
}

fn sample(line: &str) -> (String, Labels, f64) {
    let (name, rest) = line.split_at(line.find(['{', ' ']).expect("a value"));
    assert!(is_name(name), "{line}");
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => {
            let (labels, value) = rest.rsplit_once("} ").expect("the end of the labels");
            (labels, value)
        }
        None => ("", &rest[1..]),
    };
    let mut read: Labels = Vec::new();
    let mut rest = labels;
    while !rest.is_empty() {
        let (key, after) = rest.split_once("=\"").expect("a label");
        assert!(is_name(key) && !key.starts_with("__"), "{line}");
        let end = after.find('"').expect("the end of a value");
        // No name of a job and no version can hold what would have to be escaped.
        assert!(!after[..end].contains('\\'), "{line}");
        assert!(!read.iter().any(|(other, _)| other == key), "{line}");
        read.push((key.to_owned(), after[..end].to_owned()));
        rest = &after[end + 1..];
        if !rest.is_empty() {
            rest = rest.strip_prefix(',').expect("a comma");
            assert!(!rest.is_empty(), "{line}");
        }
    }
    assert!(!value.contains(' '), "neither a time nor an exemplar: {line}");
    (name.to_owned(), read, value.parse().unwrap_or_else(|_| panic!("{line}")))
}

impl Family {
    fn check(&self) {
        let Self { name, kind, unit, help, samples } = self;
        assert!(help.len() > 20, "{name} says what it is");
        assert!(unit.is_empty() || name.ends_with(&format!("_{unit}")), "{name} in {unit}");
        let suffixes: &[&str] = match kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_sum", "_count"],
            kind => panic!("{name} is a {kind}"),
        };
        for (sample, labels, value) in samples {
            let suffix = sample.strip_prefix(name.as_str()).expect(sample);
            assert!(suffixes.contains(&suffix), "{sample} of the {kind} {name}");
            assert!(kind == "gauge" || (*value >= 0.0 && value.is_finite()), "{sample} {value}");
            assert!(kind != "info" || *value == 1.0, "{sample} {value}");
            assert_eq!(labels.iter().any(|(key, _)| key == "le"), suffix == "_bucket", "{sample}");
        }
        if kind == "histogram" {
            self.check_buckets();
        }
    }

    /// The buckets of each histogram rise in order up to +Inf, which is the count.
    fn check_buckets(&self) {
        let mut histograms: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
        let mut counts = BTreeMap::new();
        for (name, labels, value) in &self.samples {
            let rest = labels.iter().filter(|(key, _)| key != "le").cloned().collect();
            if let Some((_, le)) = labels.iter().find(|(key, _)| key == "le") {
                let bound = if le == "+Inf" { f64::INFINITY } else { le.parse().unwrap() };
                histograms.entry(rest).or_default().push((bound, *value));
            } else if name.ends_with("_count") {
                counts.insert(rest, *value);
            }
        }
        assert_eq!(histograms.len(), counts.len(), "{}", self.name);
        for (labels, buckets) in histograms {
            let rises = buckets.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1);
            assert!(rises, "{} {labels:?} {buckets:?}", self.name);
            let last = buckets.last().unwrap();
            assert_eq!((last.0, Some(&last.1)), (f64::INFINITY, counts.get(&labels)));
        }
    }
}
