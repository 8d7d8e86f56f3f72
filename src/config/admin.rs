//! The `[admin]` table: where the control plane listens, and who may come in.

use core::net::SocketAddr;
use std::fmt;
use std::path::PathBuf;

use super::problem::Problem;
use super::reader::{Item, set};
use super::{Surroundings, placeholder};

/// A token shorter than this is guessed sooner or later.
const SHORTEST_TOKEN: usize = 16;

/// The `[admin]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admin {
    /// Where to listen; `None` where the file does not say, which is a Unix socket alone. Empty for
    /// no control plane at all.
    pub listen: Option<Vec<Address>>,
    /// What clients over TCP have to show.
    pub token: Option<Token>,
    /// What is enough for clients over TCP that only read; never the same as `token`.
    pub read_token: Option<Token>,
    /// Names by which clients over TCP may call us, besides those of the addresses.
    pub hosts: Vec<String>,
}

/// A place to listen at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `unix:/PATH`.
    Unix(PathBuf),
    /// `IP:PORT`.
    Tcp(SocketAddr),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "{address}"),
        }
    }
}

/// A secret that clients show. No `Debug` shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Wraps a secret.
    #[must_use]
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The secret, for the comparison and nothing else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// Reads the table.
pub fn admin(item: Option<Item<'_>>, surroundings: &Surroundings<'_>) -> Admin {
    let mut admin = Admin::default();
    let Some(mut table) = item.and_then(|i| i.table("[admin]", "a table")) else { return admin };
    let listen = table.get("listen");
    let items = ["token", "read_token"].map(|key| (key, table.get(key)));
    let has_token = items.iter().any(|(_, item)| item.is_some());
    let [secret, reader] = items.map(|(key, item)| {
        let secret = item.as_ref().and_then(|item| token(item, key, surroundings));
        (secret, item)
    });
    admin.token = secret.0;
    admin.read_token = match reader {
        (Some(same), Some(item)) if admin.token.as_ref() == Some(&same) => {
            item.fail(Problem::SameToken)
        }
        (read_token, _) => read_token,
    };
    let mut allow_remote = false;
    set(&mut allow_remote, table.get("allow_remote").and_then(|i| i.boolean()));
    set(&mut admin.hosts, table.get("hosts").and_then(|i| hosts(&i)));
    if let Some(item) = &listen {
        admin.listen = addresses(item, allow_remote, has_token);
    }
    table.finish();
    admin
}

fn hosts(item: &Item<'_>) -> Option<Vec<String>> {
    let names = item.texts("names in quotes, as in [\"recountd.example.org\"]")?;
    Some(names.into_iter().map(|(name, _)| name.to_ascii_lowercase()).collect())
}

fn addresses(item: &Item<'_>, allow_remote: bool, has_token: bool) -> Option<Vec<Address>> {
    let texts = item.texts("addresses in quotes, as in [\"unix:/run/recountd/admin.sock\"]")?;
    let mut addresses = Vec::new();
    for (text, span) in texts {
        let problem = match address(text) {
            None => Problem::Listen(text.to_owned()),
            Some(Address::Tcp(at)) if !at.ip().is_loopback() && !allow_remote => {
                Problem::RemoteListen(at.to_string())
            }
            Some(Address::Tcp(at)) if !has_token => Problem::ListenWithoutToken(at.to_string()),
            Some(address) => {
                addresses.push(address);
                continue;
            }
        };
        item.fail_at(span, problem);
    }
    Some(addresses)
}

fn address(text: &str) -> Option<Address> {
    match text.strip_prefix("unix:") {
        Some(path) => path.starts_with('/').then(|| Address::Unix(PathBuf::from(path))),
        None => text.parse().ok().map(Address::Tcp),
    }
}

/// The token stands in the environment or in a credential, never in the file itself, which people
/// show around.
fn token(item: &Item<'_>, key: &'static str, surroundings: &Surroundings<'_>) -> Option<Token> {
    let template = item.text(match key {
        "read_token" => "a placeholder in quotes, as in \"${RECOUNTD_READ_TOKEN}\"",
        _ => "a placeholder in quotes, as in \"${RECOUNTD_TOKEN}\"",
    })?;
    if placeholder::only(template).is_none() {
        return item.fail(Problem::OpenToken(key));
    }
    match placeholder::fill(&item.key, template, surroundings) {
        Ok(secret) if secret.trim().len() < SHORTEST_TOKEN => item.fail(Problem::ShortToken(key)),
        Ok(secret) => Some(Token::new(secret.trim().to_owned())),
        Err(problem) => item.fail(problem),
    }
}
