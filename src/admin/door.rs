//! Who may come in over TCP: a known host, no foreign page, the token, or the one that only reads. Over a Unix socket the mode of
//! the file has decided that already.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use subtle::ConstantTimeEq;
use thiserror::Error;

use super::http::{Peer, Request};
use super::problem::Problem;

/// What everybody may ask for.
const OPEN: [&str; 4] = ["/", "/healthz", "/readyz", "/v1/openapi.json"];
/// The ports that a URL leaves out.
const WEB_PORTS: [u16; 2] = [80, 443];
/// Characters that a token has at least: nothing slows down who tries them one by one.
const SHORTEST: usize = 16;

/// The secret that a client shows. Its `Debug` text shows nothing of it.
#[derive(Clone)]
pub struct Token(String);

/// Why a text is no token. The text itself is never shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenError {
    /// Too short, or empty.
    #[error(
        "the token has {0} characters, and needs {SHORTEST}; `openssl rand -hex 32` makes a good one"
    )]
    TooShort(usize),
    /// A character that no `Authorization` header can carry.
    #[error(
        "the token holds a space, a control character or one that is not ASCII; use letters, digits and -._~+/="
    )]
    Unsendable,
}

impl Token {
    /// A token of at least 16 visible ASCII characters.
    ///
    /// # Errors
    /// It is too short, or could not be sent.
    pub fn new(text: impl Into<String>) -> Result<Self, TokenError> {
        let text = text.into();
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Unsendable);
        }
        if text.len() < SHORTEST {
            return Err(TokenError::TooShort(text.len()));
        }
        Ok(Self(text))
    }

    /// In a time that tells nothing but the length.
    fn is(&self, shown: &str) -> bool {
        bool::from(self.0.as_bytes().ct_eq(shown.as_bytes()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Decides, for each request by itself, whether it may come in.
#[derive(Debug, Clone)]
pub struct Door {
    token: Option<Token>,
    read_token: Option<Token>,
    /// Names and addresses with the port they are known at; without one: as a URL leaves it out.
    known: BTreeSet<(String, Option<u16>)>,
    /// The ports of listeners on all addresses: there any address is ours.
    anywhere: BTreeSet<u16>,
}

impl Door {
    /// A door for listeners on those TCP addresses, and for those who call it by one of `hosts`
    /// (a name or an address, with a port or without: then the listeners' ports and 80 and 443).
    /// Without a token nobody comes in over TCP but to the open paths.
    #[must_use]
    pub fn new(token: Option<Token>, listeners: &[SocketAddr], hosts: &[String]) -> Self {
        let (known, anywhere) = (BTreeSet::new(), BTreeSet::new());
        let mut door = Self { token, read_token: None, known, anywhere };
        for listener in listeners {
            let (ip, port) = (listener.ip().to_canonical(), listener.port());
            if ip.is_unspecified() {
                door.anywhere.insert(port);
            } else {
                door.know(&written(ip), port);
            }
            if ip.is_unspecified() || ip.is_loopback() {
                ["localhost", "127.0.0.1", "[::1]"].iter().for_each(|name| door.know(name, port));
            }
        }
        for host in hosts {
            match split(host) {
                Some((name, Some(port))) => door.know(&name, port),
                Some((name, None)) => {
                    let ports = listeners.iter().map(SocketAddr::port).chain(WEB_PORTS);
                    ports.for_each(|port| door.know(&name, port));
                }
                None => {}
            }
        }
        door
    }

    /// The same, with a token that is enough to read everything and to change nothing.
    #[must_use]
    pub fn with_read_token(mut self, token: Option<Token>) -> Self {
        self.read_token = token;
        self
    }

    fn know(&mut self, name: &str, port: u16) {
        self.known.insert((name.to_owned(), Some(port)));
        if WEB_PORTS.contains(&port) {
            self.known.insert((name.to_owned(), None));
        }
    }

    /// Lets the request in, or says why not. The body is not looked at, so it need not be there yet.
    ///
    /// # Errors
    /// 403 `host`, `origin` or `read-only`, 401 `token`.
    pub fn admit(&self, request: &Request) -> Result<(), Problem> {
        if request.peer == Peer::Unix {
            return Ok(());
        }
        let host = request.host.as_deref().and_then(split);
        let Some(host) = host.filter(|host| self.knows(host)) else { return Err(foreign_host()) };
        if !request.method.reads() && !self.is_ours(request, &host) {
            return Err(foreign_origin());
        }
        if OPEN.contains(&request.path.as_str()) {
            return Ok(());
        }
        self.recognise(request)
    }

    /// Any address is known where we listen on all of them: a page that was brought to us by a
    /// forged DNS answer comes with a name.
    fn knows(&self, (name, port): &(String, Option<u16>)) -> bool {
        let literal = name.trim_start_matches('[').trim_end_matches(']');
        let at = |port: &u16| self.anywhere.contains(port);
        let by_address = literal.parse::<IpAddr>().is_ok()
            && port.as_ref().map_or_else(|| WEB_PORTS.iter().any(at), at);
        by_address || self.known.contains(&(name.clone(), *port))
    }

    /// Whether a browser that sends this does so for a page of ours. Others send no Origin.
    fn is_ours(&self, request: &Request, host: &(String, Option<u16>)) -> bool {
        let of_ours = |origin: &str| {
            let authority =
                origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            let origin = authority.and_then(split);
            origin.is_some_and(|origin| origin == *host || self.known.contains(&origin))
        };
        let cross_site = |site: &str| site.eq_ignore_ascii_case("cross-site");
        request.header_all("origin").all(of_ours)
            && !request.header_all("sec-fetch-site").any(cross_site)
    }

    fn recognise(&self, request: &Request) -> Result<(), Problem> {
        let mut shown = request.header_all("authorization");
        let (Some(credentials), None) = (shown.next(), shown.next()) else {
            return Err(no_token("this needs the header `Authorization: Bearer TOKEN`"));
        };
        let token = match credentials.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                token.trim_matches(' ')
            }
            _ => {
                return Err(no_token("the Authorization header is not of the form `Bearer TOKEN`"));
            }
        };
        // Both are compared, whichever it is.
        let is = |expected: &Option<Token>| expected.as_ref().is_some_and(|it| it.is(token));
        match (is(&self.token), is(&self.read_token)) {
            (true, _) => Ok(()),
            (false, true) if request.method.reads() => Ok(()),
            (false, true) => Err(read_only()),
            (false, false) => Err(no_token("the token is not the one of this daemon")),
        }
    }
}

fn no_token(detail: &str) -> Problem {
    let challenge = "Bearer realm=\"recountd\"";
    Problem::new(401, "token", "A token is needed", detail).header("WWW-Authenticate", challenge)
}

fn read_only() -> Problem {
    let detail = "this is the `read_token` of [admin], which is enough for GET and HEAD alone; \
                  its `token` is the one that may change something";
    Problem::new(403, "read-only", "The token only reads", detail)
}

fn foreign_host() -> Problem {
    let detail = "the Host header names a host that this daemon does not know; \
                  add the name to `hosts` if it is reached by it";
    Problem::new(403, "host", "Unknown host", detail)
}

fn foreign_origin() -> Problem {
    let detail = "a page of another site may change nothing here; \
                  add its host to `hosts` if it is the daemon's own";
    Problem::new(403, "origin", "Foreign origin", detail)
}

fn written(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// An authority as name, in lower case and without a final dot, and port; none if it is not one. A v4
/// address that is written as a v6 one is the v4 address.
fn split(authority: &str) -> Option<(String, Option<u16>)> {
    let after_literal = authority.rfind(']').map_or(0, |at| at + 1);
    let colon = authority.get(after_literal..)?.find(':').map(|at| at + after_literal);
    let (name, port) = match colon {
        Some(at) => (authority.get(..at)?, Some(authority.get(at + 1..)?.parse().ok()?)),
        None => (authority, None),
    };
    let literal = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let name = match literal {
        Some(literal) => written(literal.parse::<std::net::Ipv6Addr>().ok()?.to_canonical()),
        None => name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase(),
    };
    (!name.is_empty()).then_some((name, port))
}

#[cfg(test)]
mod tests;
