//! Connecting to MySQL: the URL, TLS, each address of the name, and the limits of a session.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use ::mysql::prelude::Queryable;
use ::mysql::{ClientIdentity, Conn, Opts, OptsBuilder, SslOpts};

use super::MysqlErrorKind;
use crate::config::Server;
use crate::stores::tls::{Identity, Mode, Options};
use crate::stores::{CONNECT_TIMEOUT, one_line};

/// The options of a URL that go to the library as they are.
const THEIRS: [&str; 7] = [
    "compress",
    "enable_cleartext_plugin",
    "max_allowed_packet",
    "secure_auth",
    "server_key_path",
    "socket",
    "tcp_keepalive_time_ms",
];

/// How much later than we the server gives a statement up. It is there for the case that we cannot:
/// our own time-out ends a run with a better reason.
const STATEMENT_MARGIN: Duration = Duration::from_secs(5);
/// The longest limit that MariaDB (a year) and MySQL (32 bits of milliseconds) both know: 49 days.
const LONGEST_LIMIT: Duration = Duration::from_millis(u32::MAX as u64);

/// Whether a URL can be used, the files included that it names.
///
/// # Errors
/// Why it cannot; the text holds no password.
pub fn check_url(url: &str) -> Result<(), String> {
    let opts = options(url)?;
    if opts.get_db_name().is_none() {
        return Err("it names no database".to_owned());
    }
    Ok(())
}

/// The URL in the library's terms.
fn options(url: &str) -> Result<Opts, String> {
    let [ca, certificate, key] = Options::FILES;
    let ours = [ca, certificate, key, Options::MODE];
    let (url, tls) = Options::take(url, &ours, &THEIRS)?;
    // The library reads the files itself, at each connection; here they are only looked at.
    tls.files()?;
    let opts = Opts::from_url(url.as_str()).map_err(|error| one_line(&error.to_string()))?;
    let ssl = ssl(&tls);
    if ssl.is_some() && opts.get_socket().is_some() {
        return Err("a socket has no TLS; take ssl-… out".to_owned());
    }
    Ok(OptsBuilder::from_opts(opts).ssl_opts(ssl).into())
}

fn ssl(tls: &Options) -> Option<SslOpts> {
    let wanted = match tls.mode {
        Some(mode) => mode != Mode::Disabled,
        None => tls.names_files(),
    };
    let identity = |identity: &Identity| {
        ClientIdentity::new(identity.certificate.clone(), identity.key.clone())
    };
    wanted.then(|| {
        SslOpts::default()
            .with_root_cert_path(tls.ca.clone())
            .with_client_identity(tls.identity.as_ref().map(identity))
            .with_danger_accept_invalid_certs(tls.mode == Some(Mode::Required))
    })
}

/// One way to the server.
struct Route {
    /// What the library is to connect to, and what a certificate has to be made out to.
    host: String,
    /// The end of ours to bind to, which tells the library the family of the address.
    bind: Option<SocketAddr>,
}

/// Every address of a host. Left alone, the library tries only the first, and `localhost` is ::1
/// first. A certificate is made out to the name, though, so that with TLS the name stays and the
/// library is told the family instead, of which it tries all.
fn routes(host: &str, port: u16, tls: bool) -> Vec<Route> {
    let found = (host, port).to_socket_addrs().map(|found| found.map(|address| address.ip()));
    let addresses: Vec<IpAddr> = found.map(Iterator::collect).unwrap_or_default();
    let by_name = |bind| Route { host: host.to_owned(), bind };
    if !tls && !addresses.is_empty() {
        let by_address = |address: IpAddr| Route { host: address.to_string(), bind: None };
        return addresses.into_iter().map(by_address).collect();
    }
    let any = |address: &IpAddr| match address {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    let mut families: Vec<IpAddr> = Vec::new();
    for family in addresses.iter().map(any) {
        if !families.contains(&family) {
            families.push(family);
        }
    }
    if families.is_empty() {
        return vec![by_name(None)];
    }
    families.into_iter().map(|family| by_name(Some((family, 0).into()))).collect()
}

/// Connects to the first address of the server that lets us in. `silence` is how long it may be
/// silent later, during a query.
pub(super) fn connect(server: &Server, silence: Duration) -> Result<Conn, MysqlErrorKind> {
    let opts = options(server.url.reveal()).map_err(MysqlErrorKind::Url)?;
    let tls = opts.get_ssl_opts().is_some();
    let routes = routes(&opts.get_ip_or_hostname(), opts.get_tcp_port(), tls);
    let builder = OptsBuilder::from_opts(opts)
        .tcp_connect_timeout(Some(CONNECT_TIMEOUT))
        // The default would leave the address in the URL for a socket that the server names.
        .prefer_socket(false)
        // A narrowed query differs each time; keeping it prepared would only fill the server.
        .stmt_cache_size(Some(0));
    let families = if tls { routes.len() } else { 1 };
    let mut failure = MysqlErrorKind::NoAnswer;
    for Route { host, bind } in routes {
        let builder = builder.clone().ip_or_hostname(Some(host)).bind_address(bind);
        // First with a short patience: a server that accepts and stays silent would else hold
        // this thread for as long as a query may be silent.
        let greeting = builder.clone().read_timeout(Some(CONNECT_TIMEOUT));
        let session = builder.read_timeout(Some(silence)).write_timeout(Some(silence)).init(vec![
            // The stream pauses while Redis compares, and the connection idles while counters are
            // watched; the server's own limits may be shorter than that.
            "SET SESSION net_write_timeout = 28800, wait_timeout = 28800".to_owned(),
            "SET SESSION TRANSACTION READ ONLY".to_owned(),
        ]);
        // Given back before the second is asked for: an account may be allowed a single connection.
        match Conn::new(greeting).map(drop).and_then(|()| Conn::new(session)) {
            Ok(mut conn) => {
                limit_statements(&mut conn, silence)?;
                return Ok(conn);
            }
            Err(error) => {
                let reason = match MysqlErrorKind::from(error) {
                    // Bound to one family, the library ends with its complaint about the other.
                    MysqlErrorKind::Unreachable(_) if families > 1 => {
                        MysqlErrorKind::Unreachable("no address answers".to_owned())
                    }
                    reason => reason,
                };
                // An address that answered says more than one that does not.
                if matches!(failure, MysqlErrorKind::NoAnswer | MysqlErrorKind::Unreachable(_)) {
                    failure = reason;
                }
            }
        }
    }
    Err(failure)
}

/// Has the server itself stop a statement that outlives the run, should recountd die and not kill
/// it. A limit that is shorter already was set by somebody who meant it, and stays.
///
/// MariaDB and MySQL have different words, and each refuses the other's by an error that changes
/// nothing. A server or a proxy that knows neither is as good as before.
fn limit_statements(conn: &mut Conn, timeout: Duration) -> Result<(), MysqlErrorKind> {
    let limit = (timeout + STATEMENT_MARGIN).min(LONGEST_LIMIT);
    let dialects = [
        ("max_statement_time", format!("{}", limit.as_secs_f64())),
        ("max_execution_time", format!("{}", limit.as_millis())),
    ];
    for (name, limit) in dialects {
        let now = format!("@@SESSION.{name}");
        let set = format!("SET SESSION {name} = IF({now} = 0, {limit}, LEAST({now}, {limit}))");
        match conn.query_drop(set) {
            Ok(()) => return Ok(()),
            Err(::mysql::Error::MySqlError(error)) => log::debug!("no {name}: {}", error.message),
            Err(error) => return Err(MysqlErrorKind::from(error)),
        }
    }
    Ok(())
}
