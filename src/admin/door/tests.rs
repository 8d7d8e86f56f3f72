//! Who comes in and who does not.

use super::*;
use crate::admin::http::Method;

const TOKEN: &str = "0123456789abcdef";

fn door(listener: &str, hosts: &[&str]) -> Door {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    Door::new(Some(Token::new(TOKEN).unwrap()), &[listener.parse().unwrap()], &hosts)
}

fn request(method: Method, path: &str, host: &str) -> Request {
    Request::new(method, path, Peer::Tcp).at(host)
}

#[track_caller]
fn kind(door: &Door, request: &Request) -> &'static str {
    door.admit(request).map_or_else(|problem| problem.kind(), |()| "in")
}

fn read(door: &Door, host: &str) -> &'static str {
    kind(door, &request(Method::Get, "/healthz", host))
}

#[test]
fn a_host_is_known_by_the_address_we_listen_on_or_by_the_list() {
    let at_home = door("127.0.0.1:7878", &["Counts.example", "ops.example:8443"]);
    let known = [
        "127.0.0.1:7878",
        "LOCALHOST:7878",
        "localhost.:7878",
        "[::1]:7878",
        "[0:0::1]:7878",
        "[::ffff:127.0.0.1]:7878",
        "[::FFFF:7f00:1]:7878",
        "counts.example",
        "counts.example:443",
        "counts.example:7878",
        "ops.example:8443",
    ];
    for host in known {
        assert_eq!(read(&at_home, host), "in", "{host}");
    }
    let unknown = [
        "evil.example:7878",
        "localhost",
        "localhost:7879",
        "10.0.0.1:7878",
        "ops.example",
        "counts.example:8080",
        "counts.example.evil.example",
        "",
        ":7878",
        "localhost:",
        "localhost:99999",
        "[::1",
        "[::ffff:10.0.0.1]:7878",
        "[127.0.0.1]:7878",
    ];
    for host in unknown {
        assert_eq!(read(&at_home, host), "host", "{host}");
    }
    let abroad = door("192.0.2.7:80", &[]);
    assert_eq!(read(&abroad, "192.0.2.7"), "in");
    assert_eq!(read(&abroad, "192.0.2.7:80"), "in");
    assert_eq!(read(&abroad, "localhost:80"), "host");
    let nobody = Request::new(Method::Get, "/", Peer::Tcp);
    assert_eq!(kind(&abroad, &nobody), "host");
}

#[test]
fn who_listens_on_all_addresses_is_known_by_any_address_but_by_no_name() {
    for everywhere in ["0.0.0.0:7878", "[::]:7878"] {
        let everywhere = door(everywhere, &[]);
        for host in
            ["10.1.2.3:7878", "[::ffff:10.1.2.3]:7878", "[2001:db8::1]:7878", "localhost:7878"]
        {
            assert_eq!(read(&everywhere, host), "in", "{host}");
        }
        for host in ["evil.example:7878", "10.1.2.3:7879", "10.1.2.3"] {
            assert_eq!(read(&everywhere, host), "host", "{host}");
        }
    }
}

#[test]
fn a_foreign_page_may_read_what_is_open_and_change_nothing() {
    let door = door("127.0.0.1:7878", &["counts.example"]);
    let write = |name: &str, value: &str| {
        let request = request(Method::Post, "/v1/jobs", "127.0.0.1:7878").with(name, value);
        kind(&door, &request.with("authorization", &format!("Bearer {TOKEN}")))
    };
    for ours in ["http://127.0.0.1:7878", "https://counts.example", "http://localhost:7878"] {
        assert_eq!(write("Origin", ours), "in", "{ours}");
    }
    let foreign =
        ["https://evil.example", "null", "", "ftp://localhost:7878", "http://localhost:80"];
    for foreign in foreign {
        assert_eq!(write("Origin", foreign), "origin", "{foreign}");
    }
    assert_eq!(write("Sec-Fetch-Site", "cross-site"), "origin");
    assert_eq!(write("Sec-Fetch-Site", "same-origin"), "in");
    assert_eq!(write("Accept", "*/*"), "in");
    let read = request(Method::Get, "/", "127.0.0.1:7878").with("Origin", "https://a.example");
    assert_eq!(kind(&door, &read), "in");
}

#[test]
fn on_all_addresses_a_page_is_ours_if_it_came_from_where_it_goes_to() {
    let door = door("0.0.0.0:7878", &[]);
    let write = |origin: &str| {
        let request = request(Method::Post, "/v1/jobs", "10.1.2.3:7878").with("Origin", origin);
        kind(&door, &request.with("authorization", &format!("Bearer {TOKEN}")))
    };
    assert_eq!(write("http://10.1.2.3:7878"), "in");
    assert_eq!(write("http://10.6.6.6:7878"), "origin");
}

#[test]
fn the_token_opens_and_nothing_else_does() {
    let door = door("127.0.0.1:7878", &[]);
    let with = |credentials: &str| {
        let request = request(Method::Get, "/v1/jobs", "localhost:7878");
        kind(&door, &request.with("AUTHORIZATION", credentials))
    };
    for right in ["Bearer ", "bearer ", "BEARER   "] {
        assert_eq!(with(&format!("{right}{TOKEN}")), "in", "{right}");
    }
    let wrong = ["", "Bearer", "Bearer ", "Basic 0123456789abcdef", "0123456789abcdef"];
    for wrong in wrong.into_iter().chain(["Bearer 0123456789abcdeg", "Bearer 0123456789abcde"]) {
        assert_eq!(with(wrong), "token", "{wrong}");
    }
    let twice = request(Method::Get, "/v1/jobs", "localhost:7878")
        .with("Authorization", &format!("Bearer {TOKEN}"))
        .with("Authorization", "Bearer other");
    assert_eq!(kind(&door, &twice), "token");
    for open in OPEN {
        assert_eq!(kind(&door, &request(Method::Get, open, "localhost:7878")), "in", "{open}");
    }
    for closed in ["/healthz/", "/HEALTHZ", "//", "/metrics", "/%68ealthz"] {
        assert_eq!(kind(&door, &request(Method::Get, closed, "localhost:7878")), "token");
    }
}

#[test]
fn the_read_token_is_enough_to_read_everything_and_to_change_nothing() {
    const READER: &str = "fedcba9876543210";
    let reader = || Some(Token::new(READER).unwrap());
    let both = door("127.0.0.1:7878", &[]).with_read_token(reader());
    let none = || Door::new(None, &["127.0.0.1:7878".parse().unwrap()], &[]);
    let with = |door: &Door, method, path, token: &str| {
        let request = request(method, path, "localhost:7878");
        kind(door, &request.with("Authorization", &format!("Bearer {token}")))
    };
    for door in [&both, &none().with_read_token(reader())] {
        for path in ["/v1/jobs", "/v1/events", "/metrics", "/admin/scheduled-jobs", "/"] {
            assert_eq!(with(door, Method::Get, path, READER), "in", "{path}");
            assert_eq!(with(door, Method::Head, path, READER), "in", "{path}");
        }
        let others = [Method::Post, Method::Put, Method::Patch, Method::Delete];
        for method in others.into_iter().chain([Method::Options, Method::Other]) {
            assert_eq!(with(door, method, "/v1/jobs", READER), "read-only", "{method:?}");
        }
        assert_eq!(with(door, Method::Get, "/v1/jobs", "fedcba9876543211"), "token");
        assert!(!format!("{door:?}").contains(READER));
    }
    assert_eq!(with(&both, Method::Post, "/v1/jobs", TOKEN), "in");
    // Without it, it is a token like any other.
    assert_eq!(with(&none(), Method::Post, "/v1/jobs", READER), "token");
    let refused = request(Method::Post, "/v1/jobs", "localhost:7878")
        .with("Authorization", &format!("Bearer {READER}"));
    let problem = both.admit(&refused).unwrap_err();
    assert_eq!(problem.status(), 403);
    assert!(problem.detail().contains("`token` is the one"), "{}", problem.detail());
}

#[test]
fn without_a_token_nobody_comes_in_and_over_a_unix_socket_everybody_does() {
    let door = Door::new(None, &["127.0.0.1:7878".parse().unwrap()], &[]);
    let request = |peer| {
        let request = Request::new(Method::Post, "/v1/jobs", peer).at("localhost:7878");
        request.with("Authorization", "Bearer ")
    };
    assert_eq!(kind(&door, &request(Peer::Tcp)), "token");
    assert_eq!(kind(&door, &request(Peer::Unix)), "in");
}

#[test]
fn a_token_is_long_enough_can_be_sent_and_is_never_shown() {
    assert_eq!(Token::new("").unwrap_err(), TokenError::TooShort(0));
    assert_eq!(Token::new("0123456789abcde").unwrap_err(), TokenError::TooShort(15));
    assert_eq!(Token::new("0123456789abcdef\n").unwrap_err(), TokenError::Unsendable);
    assert_eq!(Token::new("Schlüssel-Schlüssel").unwrap_err(), TokenError::Unsendable);
    let door = door("127.0.0.1:7878", &[]);
    assert!(!format!("{door:?}").contains(TOKEN));
}
