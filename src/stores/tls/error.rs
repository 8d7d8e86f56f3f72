//! What a handshake can end with, and the way out of it.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};
use thiserror::Error as ThisError;

use crate::stores::one_line;

/// Why a server and we do not agree on TLS. A later attempt would end the same.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum TlsError {
    /// No CA that is trusted has signed the server's certificate.
    #[error("no trusted CA has signed the server's certificate ({0})")]
    Untrusted(String),
    /// The certificate is made out to somebody else.
    #[error("the server's certificate is for another name ({0})")]
    WrongName(String),
    /// The certificate has expired, or is not valid yet.
    #[error("the server's certificate is not valid now ({0})")]
    Outdated(String),
    /// The server has no TLS.
    #[error("the server offers no TLS")]
    NotOffered,
    /// The server lets nobody in without TLS.
    #[error("the server demands TLS ({0})")]
    Demanded(String),
    /// The server wants to see our certificate.
    #[error("the server does not accept our certificate, or that we show none ({0})")]
    Identity(String),
    /// Anything else, above all something that does not speak TLS.
    #[error("no TLS with the server ({0})")]
    Failed(String),
}

impl TlsError {
    /// What rustls says, if that is what an input or output failed with: a handshake takes place
    /// in the first write or read.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref::<Error>().map(Self::from)
    }

    /// The way out, in a few words.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            Self::Untrusted(_) => "point ssl-ca in url at the CA that signed it",
            Self::WrongName(_) => "write the host in url as the certificate has it",
            Self::Outdated(_) => "renew it, or correct the clock",
            Self::NotOffered => "switch TLS on there, or take ssl-… out of url",
            Self::Demanded(_) => "add ?ssl-ca=/path/ca.pem to url, or ?ssl-mode=REQUIRED",
            Self::Identity(_) => "add ssl-cert and ssl-key to url, of a CA that the server trusts",
            Self::Failed(_) => "check that the port in url speaks TLS",
        }
    }
}

impl From<&Error> for TlsError {
    fn from(error: &Error) -> Self {
        use CertificateError as Why;
        let text = one_line(&error.to_string());
        let text = text.trim_start_matches("invalid peer certificate: ").to_owned();
        match error {
            // A CA of the same name and another key shows as a bad signature.
            Error::InvalidCertificate(Why::UnknownIssuer | Why::BadSignature | Why::Other(_)) => {
                Self::Untrusted(text)
            }
            Error::InvalidCertificate(
                Why::NotValidForName | Why::NotValidForNameContext { .. },
            ) => Self::WrongName(text),
            Error::InvalidCertificate(
                Why::Expired
                | Why::ExpiredContext { .. }
                | Why::NotValidYet
                | Why::NotValidYetContext { .. },
            ) => Self::Outdated(text),
            Error::AlertReceived(
                AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                // The signature of our certificate: a CA of the same name and another key.
                | AlertDescription::DecryptError
                | AlertDescription::AccessDenied,
            ) => Self::Identity(text),
            _ => Self::Failed(text),
        }
    }
}
