//! Who is told how the runs of a job end: `ping = { success = URL, failure = URL }`.

use std::fmt;

use url::Url;

use super::problem::Problem;
use super::reader::{Item, Table};
use super::{Surroundings, placeholder};

/// The URLs that are told how the runs of a job end, so that somebody notices when they no longer
/// are. Empty where the job says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ping {
    /// Told after a run that did its work.
    pub success: Option<PingUrl>,
    /// Told after a run that did not.
    pub failure: Option<PingUrl>,
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
