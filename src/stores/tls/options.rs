//! The TLS options of a URL. They are ours: the libraries have other words for them, or none.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use url::Url;

use super::Identity;

/// What a server has to show, in the words of MySQL's `--ssl-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::stores) enum Mode {
    /// No TLS at all.
    Disabled,
    /// TLS with whatever certificate: nobody can listen, but anybody can be the server.
    Required,
    /// A certificate that is made out to the host name, and signed by a CA that is trusted.
    VerifyIdentity,
}

impl Mode {
    fn read(word: &str) -> Result<Self, String> {
        match word {
            "DISABLED" => Ok(Self::Disabled),
            "REQUIRED" => Ok(Self::Required),
            "VERIFY_IDENTITY" => Ok(Self::VerifyIdentity),
            // The library trusts the public CAs besides ssl-ca. With any name allowed, everybody
            // who owns a domain could be the server.
            "VERIFY_CA" => Err("ssl-mode=VERIFY_CA would let every public certificate in; \
                 write VERIFY_IDENTITY, with the name of the certificate as host"
                .to_owned()),
            _ => Err(format!("ssl-mode={word} is none of DISABLED, REQUIRED, VERIFY_IDENTITY")),
        }
    }
}

/// What a URL says of TLS.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::stores) struct Options {
    /// `ssl-ca`: the CAs to trust.
    pub ca: Option<PathBuf>,
    /// `ssl-cert` and `ssl-key`.
    pub identity: Option<Identity>,
    /// `ssl-mode`.
    pub mode: Option<Mode>,
}

impl Options {
    /// The options that name files.
    pub const FILES: [&str; 3] = ["ssl-ca", "ssl-cert", "ssl-key"];
    /// The option that names a [`Mode`].
    pub const MODE: &str = "ssl-mode";

    /// Takes the options in `ours` out of a URL. What is left is for the library, and may have no
    /// options but those in `theirs`.
    ///
    /// # Errors
    /// An option is unknown, there twice, or makes no sense; a password is never in the text.
    pub fn take(url: &str, ours: &[&str], theirs: &[&str]) -> Result<(Url, Self), String> {
        let mut url = Url::parse(url).map_err(|error| error.to_string())?;
        let mut taken: Vec<(String, String)> = Vec::new();
        let mut left = Vec::new();
        for pair in url.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if ours.contains(&name) {
                let value = percent_decode_str(value).decode_utf8();
                let value = value.map_err(|_| format!("{name} is not UTF-8"))?;
                if taken.iter().any(|(before, _)| before == name) {
                    return Err(format!("{name} is there twice"));
                }
                taken.push((name.to_owned(), value.into_owned()));
            } else if theirs.contains(&name) {
                left.push(pair);
            } else {
                let known = [ours, theirs].concat().join(", ");
                return Err(format!("the option {name} is not known; known are {known}"));
            }
        }
        let left = left.join("&");
        url.set_query(Some(left.as_str()).filter(|left| !left.is_empty()));
        let options = Self::read(&taken)?;
        Ok((url, options))
    }

    fn read(taken: &[(String, String)]) -> Result<Self, String> {
        let value = |name| taken.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        let path = |name| match value(name).map(PathBuf::from) {
            // The daemon's folder is another than that of `recountd check`.
            Some(path) if path.is_relative() => {
                Err(format!("{name}={} is no whole path; begin it with /", path.display()))
            }
            path => Ok(path),
        };
        let [ca, certificate, key] = Self::FILES;
        let identity = match (path(certificate)?, path(key)?) {
            (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
            (None, None) => None,
            _ => return Err("ssl-cert and ssl-key go together".to_owned()),
        };
        let mode = value(Self::MODE).map(Mode::read).transpose()?;
        let options = Self { ca: path(ca)?, identity, mode };
        match options.mode {
            Some(Mode::Disabled) if options.names_files() => {
                Err("ssl-mode=DISABLED uses no certificates; take one of the two out".to_owned())
            }
            Some(Mode::Required) if options.ca.is_some() => Err("ssl-mode=REQUIRED checks \
                 nothing against ssl-ca; take it out, or write VERIFY_IDENTITY"
                .to_owned()),
            _ => Ok(options),
        }
    }

    /// Whether any option names a file, and so asks for TLS.
    pub fn names_files(&self) -> bool {
        self.ca.is_some() || self.identity.is_some()
    }
}
