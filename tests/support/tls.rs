//! Certificates, made when a test runs and gone with it.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// A certificate authority with a folder of its own.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

/// The files of a certificate and of its key, in PEM.
pub struct Issued {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key is made");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a CA is made");
        let folder = tempfile::tempdir().expect("a folder is made");
        fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("a file is written");
        Self { issuer, folder }
    }

    /// The file to trust.
    pub fn ca(&self) -> PathBuf {
        self.folder().join("ca.pem")
    }

    /// Where the files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A certificate that is made out to `name`.
    pub fn issue(&self, name: &str) -> Issued {
        let key = KeyPair::generate().expect("a key is made");
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate is made");
        let file = |ending, text| {
            let path = self.folder().join(format!("{name}.{ending}"));
            fs::write(&path, text).expect("a file is written");
            path
        };
        Issued {
            certificate: file("pem", certificate.pem()),
            key: file("key", key.serialize_pem()),
        }
    }
}
