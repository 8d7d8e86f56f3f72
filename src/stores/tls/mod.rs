//! TLS for both stores: what a URL says of it, the files that it names, what goes wrong.
//!
//! The options have the names that the clients of MySQL give them. There is one cryptography in the
//! binary, *ring*, which rustls finds by itself as long as no second one is linked in.

mod error;
mod options;

use std::fs;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

pub use error::TlsError;
pub(super) use options::{Mode, Options};

/// Our own certificate, for servers that ask for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// `ssl-cert`: the certificate and those between it and its CA.
    pub certificate: PathBuf,
    /// `ssl-key`: its private key.
    pub key: PathBuf,
}

/// What the files hold, as PEM; each has been read as what it shall be.
#[derive(Default)]
pub(super) struct Files {
    /// Of `ssl-ca`.
    pub ca: Option<Vec<u8>>,
    /// Of `ssl-cert` and `ssl-key`.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Options {
    /// Reads the files. The libraries would name neither the file nor the option, some not before
    /// they connect, and one takes an empty file for no certificate at all.
    ///
    /// # Errors
    /// The option and the file that cannot be used, and why.
    pub fn files(&self) -> Result<Files, String> {
        let mut files = Files::default();
        if let Some(path) = &self.ca {
            let pem = read("ssl-ca", path)?;
            let mut roots = RootCertStore::empty();
            for certificate in certificates("ssl-ca", path, &pem)? {
                roots.add(certificate).map_err(|error| unusable("ssl-ca", path, &error))?;
            }
            files.ca = Some(pem);
        }
        if let Some(Identity { certificate, key }) = &self.identity {
            let chain_pem = read("ssl-cert", certificate)?;
            let key_pem = read("ssl-key", key)?;
            let chain = certificates("ssl-cert", certificate, &chain_pem)?;
            let private = PrivateKeyDer::from_pem_slice(&key_pem)
                .map_err(|_| unusable("ssl-key", key, &"it holds no private key in PEM"))?;
            CertifiedKey::from_der(chain, private, &ring::default_provider())
                .map_err(|_| unusable("ssl-key", key, &"it is not the key of ssl-cert"))?;
            files.identity = Some((chain_pem, key_pem));
        }
        Ok(files)
    }
}

fn read(option: &str, path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| unusable(option, path, &error))
}

fn certificates(
    option: &str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, String> {
    match CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>() {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) | Err(_) => Err(unusable(option, path, &"it holds no certificate in PEM")),
    }
}

fn unusable(option: &str, path: &Path, reason: &dyn std::fmt::Display) -> String {
    format!("{option}={}: {reason}", path.display())
}
