//! Where a daemon answers: a Unix socket or a URL, and the token that it may want there.

use std::fmt;
use std::path::{Path, PathBuf};

use url::{Host, Url};

use super::ClientError;

/// Where the daemon answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A Unix socket, which wants no token: the file's mode says who may.
    Socket(PathBuf),
    /// `http://HOST:PORT` or `https://…`, without a slash at its end.
    Http(String),
}

impl Place {
    /// Reads `unix:/path`, `http://…` or `https://…`. A URL may have a path, for a daemon behind a
    /// proxy.
    ///
    /// # Errors
    /// It is none of these, or it has a part that does not belong there, such as a password.
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            let nothing = || ClientError::url(text, "a path is missing after unix:");
            return Some(path)
                .filter(|path| !path.is_empty())
                .map(|path| Self::Socket(PathBuf::from(path)))
                .ok_or_else(nothing);
        }
        let url = Url::parse(text).map_err(|_| ClientError::url(text, "it is no URL"))?;
        if !url.username().is_empty() || url.password().is_some() {
            // The text is not shown: it holds a password.
            return Err(ClientError::url("the URL", "it has a user; a token goes to --token-file"));
        }
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(ClientError::url(text, "it is neither http://, https:// nor unix:"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(ClientError::url(text, "a ? or # does not belong there"));
        }
        Ok(Self::Http(url.as_str().trim_end_matches('/').to_owned()))
    }

    /// Whether others may read what goes there: it is HTTP without TLS, and not to this machine.
    #[must_use]
    pub fn is_overheard(&self) -> bool {
        let Self::Http(url) = self else { return false };
        let Ok(url) = Url::parse(url) else { return false };
        let is_here = match url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
            Some(Host::Domain(name)) => {
                let name = name.trim_end_matches('.');
                name == "localhost" || name.ends_with(".localhost")
            }
            None => false,
        };
        url.scheme() == "http" && !is_here
    }

    /// The URL of a path below it. What names the host of a Unix socket does not matter.
    pub(super) fn url_of(&self, path: &str) -> String {
        match self {
            Self::Socket(_) => format!("http://localhost{path}"),
            Self::Http(base) => format!("{base}{path}"),
        }
    }

    pub(super) fn socket(&self) -> Option<&Path> {
        match self {
            Self::Socket(path) => Some(path),
            Self::Http(_) => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Http(base) => f.write_str(base),
        }
    }
}

/// What `Authorization: Bearer` carries. It is in no `Debug` text.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Takes the text without the line break that an editor ends a file with; `None` where that
    /// leaves nothing, or something that no header can carry.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self(text.to_owned()))
    }

    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_socket_or_a_url() {
        let socket = |path: &str| Place::Socket(PathBuf::from(path));
        let http = |url: &str| Place::Http(url.to_owned());
        for (text, place) in [
            ("unix:/run/recountd/admin.sock", socket("/run/recountd/admin.sock")),
            ("unix:///run/a.sock", socket("/run/a.sock")),
            ("unix:here.sock", socket("here.sock")),
            ("http://127.0.0.1:7878", http("http://127.0.0.1:7878")),
            ("http://[::1]:7878/", http("http://[::1]:7878")),
            ("https://example.org/recountd/", http("https://example.org/recountd")),
        ] {
            assert_eq!(Place::parse(text).unwrap(), place, "{text}");
        }
    }

    #[test]
    fn only_plain_http_to_elsewhere_can_be_overheard() {
        for (text, wanted) in [
            ("unix:/run/a.sock", false),
            ("http://127.0.0.1:7878", false),
            ("http://127.3.2.1:7878", false),
            ("http://[::1]:7878", false),
            ("http://[::ffff:127.0.0.1]:7878", false),
            ("http://localhost:7878", false),
            ("HTTP://LOCALHOST.", false),
            ("https://example.org", false),
            ("http://example.org", true),
            ("http://localhost.example.org", true),
            ("http://10.0.0.1", true),
            ("http://[2001:db8::1]", true),
        ] {
            assert_eq!(Place::parse(text).unwrap().is_overheard(), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_no_place_is_refused_and_a_password_is_not_repeated() {
        for text in [
            "",
            "unix:",
            "127.0.0.1:7878",
            "localhost:7878",
            "ftp://a",
            "http://",
            "http://a/?b",
            "http://a/#b",
            "http://me:hunter2@a",
            "/run/a.sock",
        ] {
            let error = Place::parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_token_is_one_word_and_never_shown() {
        let token = Token::new("hunter2\r\n").unwrap();
        assert_eq!(token.header(), "Bearer hunter2");
        assert!(!format!("{token:?}").contains("hunter2"));
        for text in ["", " \n", "two words", "tök", "a\nb"] {
            assert!(Token::new(text).is_none(), "{text:?}");
        }
    }
}
