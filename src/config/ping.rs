//! Who is told how the runs of a job end: `ping = { success = URL, failure = URL }`.

use std::fmt;

use url::Url;

use super::problem::Problem;
use super::reader::{Item, Table};
use super::{Surroundings, placeholder};
use crate::agenda::SlotEnd;
use crate::report::Outcome;

/// The URLs that are told how the runs of a job end, so that somebody notices when they no longer
/// are. Empty where the job says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ping {
    /// Told after a run that did its work.
    pub success: Option<PingUrl>,
    /// Told after a run that did not.
    pub failure: Option<PingUrl>,
}

impl Ping {
    /// Which URL is told that a slot has ended so.
    ///
    /// A partial run counts as a success: it repaired what could be proven, and the next run looks
    /// again. Of a run with retries only its end is told. A slot that did not run is told to nobody,
    /// because its silence is what the other side listens for; and a dry run is no proof that the
    /// counters are true.
    #[must_use]
    pub fn after(&self, end: &SlotEnd) -> Option<&PingUrl> {
        let SlotEnd::Ran { outcome, report, .. } = end else { return None };
        if report.as_ref().is_some_and(|report| report.dry_run) {
            return None;
        }
        match outcome {
            Outcome::Clean | Outcome::Repaired | Outcome::Partial => self.success.as_ref(),
            Outcome::Failed | Outcome::Refused => self.failure.as_ref(),
            Outcome::Drift => None,
        }
    }
}

/// An http or https URL. Who knows its path can tell lies in the job's name, so neither `Debug` nor
/// `Display` shows more than the scheme and the host with its port.
#[derive(Clone, PartialEq, Eq)]
pub struct PingUrl(Box<Url>);

impl PingUrl {
    /// Takes a URL that has its placeholders filled in; or says why it cannot be pinged, without
    /// repeating any of it.
    ///
    /// # Errors
    /// It is no URL, neither http nor https, or has an `@` behind its host: that is the sign of a
    /// password with a raw `/`, the first half of which would be shown as the host.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err("it is neither http nor https".to_owned());
        }
        let behind = [url.path(), url.query().unwrap_or(""), url.fragment().unwrap_or("")];
        if behind.iter().any(|part| part.contains('@')) {
            return Err("it has an `@` behind the host; write it as %40".to_owned());
        }
        Ok(Self(Box::new(url)))
    }

    /// The whole URL, for the library that sends it and nothing else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.0.as_str()
    }

    /// Whether it is sent over TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The host, with its port where that is not the usual one.
    #[must_use]
    pub fn host(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        self.0.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }
}

impl fmt::Display for PingUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.host())
    }
}

impl fmt::Debug for PingUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads the `ping` of a job; empty where it has none.
pub(super) fn read(table: &mut Table<'_>, from: &Surroundings<'_>) -> Ping {
    let expected = "a table, as in { success = \"https://hc-ping.com/UUID\" }";
    let Some(item) = table.get("ping") else { return Ping::default() };
    let Some(mut table) = item.table("`ping`", expected) else { return Ping::default() };
    let (success, failure) = (table.get("success"), table.get("failure"));
    // A misspelt key explains an empty table: it is not blamed twice.
    if success.is_none() && failure.is_none() && !table.has_unknown() {
        table.fail(Problem::Empty("ping".to_owned()));
    }
    table.finish();
    let url = |item: Option<Item<'_>>| item.and_then(|item| read_url(&item, from));
    Ping { success: url(success), failure: url(failure) }
}

fn read_url(item: &Item<'_>, from: &Surroundings<'_>) -> Option<PingUrl> {
    let template = item.filled_text("a URL in quotes")?;
    let filled = match placeholder::fill(&item.key, template, from) {
        Ok(filled) => filled,
        Err(problem) => return item.fail(problem),
    };
    match PingUrl::parse(&filled) {
        Ok(url) => Some(url),
        Err(reason) => item.fail(Problem::PingUrl { key: item.key.clone(), reason }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ping() -> Ping {
        let url = |path: &str| PingUrl::parse(&format!("https://hc-ping.com/{path}")).ok();
        Ping { success: url("good"), failure: url("bad") }
    }

    fn ran(outcome: Outcome) -> SlotEnd {
        SlotEnd::Ran { outcome, attempts: 1, reason: None, report: None }
    }

    #[test]
    fn a_run_that_did_its_work_is_a_success_and_one_that_did_not_a_failure() {
        let ping = ping();
        for (outcome, told) in [
            (Outcome::Clean, Some("good")),
            (Outcome::Repaired, Some("good")),
            (Outcome::Partial, Some("good")),
            (Outcome::Failed, Some("bad")),
            (Outcome::Refused, Some("bad")),
            (Outcome::Drift, None),
        ] {
            let url = ping.after(&ran(outcome)).map(PingUrl::reveal);
            let want = told.map(|path| format!("https://hc-ping.com/{path}"));
            assert_eq!(url, want.as_deref(), "{outcome:?}");
        }
    }

    #[test]
    fn what_did_not_run_and_whom_nobody_named_is_not_told() {
        let late = SlotEnd::Missed { late: std::time::Duration::from_secs(90) };
        for end in [late, SlotEnd::OverLimit, SlotEnd::Reload, SlotEnd::Shutdown] {
            assert_eq!(ping().after(&end), None, "{end:?}");
        }
        for outcome in [Outcome::Clean, Outcome::Failed] {
            assert_eq!(Ping::default().after(&ran(outcome)), None);
        }
        let only_failure = Ping { success: None, ..ping() };
        assert_eq!(only_failure.after(&ran(Outcome::Clean)), None);
        assert!(only_failure.after(&ran(Outcome::Failed)).is_some());
    }

    #[test]
    fn a_dry_run_is_told_to_nobody_however_it_ended() {
        for outcome in [Outcome::Clean, Outcome::Drift, Outcome::Failed] {
            let report = crate::report::Report {
                job: "j".to_owned(),
                outcome,
                dry_run: true,
                started_at: chrono::DateTime::UNIX_EPOCH.fixed_offset(),
                duration_ms: 1,
                findings: crate::report::Findings::default(),
                reason: None,
            };
            let report = Some(Box::new(report));
            let end = SlotEnd::Ran { outcome, attempts: 1, reason: None, report };
            assert_eq!(ping().after(&end), None, "{outcome:?}");
        }
    }

    #[test]
    fn nothing_shows_more_of_a_url_than_its_scheme_and_host() {
        for (url, shown, host) in [
            ("https://hc-ping.com/uuid/fail", "https://hc-ping.com", "hc-ping.com"),
            ("http://me:secret@h.example:8000/uuid", "http://h.example:8000", "h.example:8000"),
            ("HTTPS://[::1]/uuid?token=x#y", "https://[::1]", "[::1]"),
        ] {
            let url = PingUrl::parse(url).unwrap();
            assert_eq!((url.to_string(), url.host()), (shown.to_owned(), host.to_owned()));
            assert_eq!(format!("{url:?}"), shown);
        }
    }

    #[test]
    fn a_url_that_cannot_be_pinged_is_refused_without_being_repeated() {
        for url in ["hc-ping.com/secret", "ftp://h/secret", "https://u:12/secret@h/x", "https://"] {
            let reason = PingUrl::parse(url).unwrap_err();
            assert!(!reason.contains("secret"), "{reason}");
        }
    }
}
