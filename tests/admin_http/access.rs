//! Whom the door lets in, end to end; src/admin/door/tests.rs has it in full.

use super::world::{READ_TOKEN, TOKEN, World, world};
use recountd::admin::limits::Limits;

/// Status, kind of problem if it is one, and the challenge, of a request over TCP.
fn over_tcp(world: &World, line: &str, fields: &str) -> (u16, Option<String>, Option<String>) {
    let answer = world.over_tcp().ask(format!("{line} HTTP/1.1\r\n{fields}\r\n"));
    let kind = (answer.status >= 400).then(|| answer.problem());
    (answer.status, kind, answer.header("www-authenticate").map(str::to_owned))
}

#[test]
fn over_tcp_the_token_is_needed_for_all_but_the_open_paths() {
    let world = world(Limits::default());
    let host = format!("Host: {}\r\n", world.tcp);
    let (status, kind, challenge) = over_tcp(&world, "GET /echo", &host);
    assert_eq!((status, kind.as_deref()), (401, Some("token")));
    assert!(challenge.unwrap().starts_with("Bearer"));
    let wrong = format!("{host}Authorization: Bearer {TOKEN}x\r\n");
    assert_eq!(over_tcp(&world, "GET /echo", &wrong).0, 401);
    let right = format!("{host}authorization: bearer {TOKEN}\r\n");
    assert_eq!(over_tcp(&world, "GET /echo", &right).0, 200);
    for open in ["/", "/healthz"] {
        assert_eq!(over_tcp(&world, &format!("GET {open}"), &host).0, 200, "{open}");
    }
}

#[test]
fn over_tcp_the_read_token_reads_and_nothing_else() {
    let world = world(Limits::default());
    let reader = format!("Host: {}\r\nAuthorization: Bearer {READ_TOKEN}\r\n", world.tcp);
    assert_eq!(over_tcp(&world, "GET /echo", &reader).0, 200);
    for method in ["POST", "PATCH", "DELETE", "PUT", "OPTIONS"] {
        let answer = over_tcp(&world, &format!("{method} /echo"), &reader);
        assert_eq!(answer, (403, Some("read-only".to_owned()), None), "{method}");
    }
    let mut client = world.over_tcp();
    client.send(format!("HEAD /echo HTTP/1.1\r\n{reader}\r\n"));
    assert_eq!(client.head().unwrap().status, 200);
}

#[test]
fn over_tcp_a_foreign_host_and_a_foreign_origin_are_forbidden() {
    let world = world(Limits::default());
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    let forbidden = |kind: &str| (403, Some(kind.to_owned()), None);
    let foreign = format!("Host: evil.example\r\n{token}");
    assert_eq!(over_tcp(&world, "GET /echo", &foreign), forbidden("host"));
    // The target counts where it names a host.
    let hidden = format!("Host: {}\r\n{token}", world.tcp);
    assert_eq!(over_tcp(&world, "GET http://evil.example/echo", &hidden), forbidden("host"));
    let page = format!("{hidden}Origin: https://evil.example\r\n");
    assert_eq!(over_tcp(&world, "POST /echo", &page), forbidden("origin"));
    let page = format!("{hidden}Sec-Fetch-Site: cross-site\r\n");
    assert_eq!(over_tcp(&world, "DELETE /echo", &page), forbidden("origin"));
    let ours = format!("Host: counts.example\r\n{token}Origin: https://counts.example\r\n");
    assert_eq!(over_tcp(&world, "POST /echo", &ours).0, 200);
}

#[test]
fn over_a_unix_socket_none_of_this_is_asked_for() {
    let world = world(Limits::default());
    let request = "POST /peer HTTP/1.1\r\nHost: whatever\r\nOrigin: https://evil.example\r\n\r\n";
    assert_eq!(world.over_unix().ask(request).body, "unix");
    assert_eq!(world.over_tcp().ask(world.request("POST /peer", "")).body, "tcp");
}

#[test]
fn no_handler_ever_sees_the_token() {
    let world = world(Limits::default());
    for mut client in world.both() {
        assert_eq!(client.ask(world.request("GET /secret", "")).body, "none");
    }
}

#[test]
fn a_refused_request_without_a_body_does_not_cost_the_connection() {
    let world = world(Limits::default());
    let mut client = world.over_tcp();
    let stranger = format!("GET /echo HTTP/1.1\r\nHost: {}\r\n\r\n", world.tcp);
    assert_eq!(client.ask(&stranger).status, 401);
    assert_eq!(client.ask(&stranger).status, 401);
    assert_eq!(client.ask(world.request("GET /echo", "")).status, 200);
}
