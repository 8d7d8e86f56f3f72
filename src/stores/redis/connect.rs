//! The URL of a Redis, in the library's terms.

use ::redis::{Client, ClientTlsConfig, TlsCertificates};

use crate::stores::one_line;
use crate::stores::tls::Options;

/// A client for a URL, with the files that it names; nothing is connected yet.
///
/// # Errors
/// Why the URL cannot be used; the text holds no password.
pub(super) fn client(url: &str) -> Result<Client, String> {
    let reason = |error: ::redis::RedisError| one_line(&error.to_string());
    let scheme = url.split(':').next().unwrap_or_default();
    let (ours, theirs): (&[&str], &[&str]) = match scheme {
        "rediss" | "valkeys" => (&Options::FILES, &["protocol"]),
        "redis" | "valkey" => (&[], &["protocol"]),
        _ => (&[], &["db", "pass", "protocol", "user"]),
    };
    let (url, tls) = Options::take(url, ours, theirs).map_err(|reason| match scheme {
        "redis" | "valkey" if reason.contains("ssl-") => {
            format!("ssl-… goes with TLS; begin it with {scheme}s://")
        }
        _ => reason,
    })?;
    // The library means #insecure by it, which this program does not have.
    if url.fragment().is_some() {
        return Err("nothing may follow a #; ssl-ca=/path/to/the/certificate trusts a \
                    certificate that no CA has signed"
            .to_owned());
    }
    if ours.is_empty() {
        return Client::open(url).map_err(reason);
    }
    let files = tls.files()?;
    let client_tls =
        files.identity.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
    let certificates = TlsCertificates { client_tls, root_cert: files.ca };
    Client::build_with_tls(url, certificates).map_err(reason)
}
