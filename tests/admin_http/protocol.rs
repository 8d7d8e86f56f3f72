//! Requests and replies as RFC 9112 has them, and everything that is refused before a handler sees it.

use super::world::{SOON, world};
use recountd::admin::limits::Limits;

#[test]
fn requests_on_one_connection_are_answered_one_after_the_other() {
    let world = world(Limits::default());
    for mut client in world.both() {
        for number in 0..50 {
            let answer = client.ask(world.request(&format!("GET /echo?{number}"), ""));
            assert_eq!((answer.status, answer.body), (200, format!("Get {number} ")));
        }
        let last = client.ask(world.request("GET /echo", "Connection: close\r\n"));
        assert_eq!(last.header("connection"), Some("close"));
        assert!(client.is_closed());
    }
}

#[test]
fn requests_that_come_together_are_answered_in_their_order() {
    let world = world(Limits::default());
    for mut client in world.both() {
        let mut all = String::new();
        for number in 0..20 {
            all += &world.request(&format!("GET /echo?{number}"), "");
            all += &world.request("POST /echo", "Content-Length: 4\r\n");
            all += "body";
        }
        client.send(all);
        for number in 0..20 {
            assert_eq!(client.answer().body, format!("Get {number} "));
            assert_eq!(client.answer().body, "Post - body");
        }
    }
}

#[test]
fn it_does_not_matter_how_the_bytes_of_a_request_are_cut() {
    let world = world(Limits::default());
    let chunked = "Transfer-Encoding: chunked\r\n";
    let request = world.request("POST /echo?a", chunked) + "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
    for mut client in world.both() {
        for at in 1..request.len() {
            client.send(&request[..at]);
            std::thread::yield_now();
            assert_eq!(client.ask(&request[at..]).body, "Post a abcde", "cut at {at}");
        }
        request.as_bytes().chunks(1).for_each(|byte| client.send(byte));
        assert_eq!(client.answer().body, "Post a abcde", "byte by byte");
    }
}

#[test]
fn head_is_answered_like_get_without_the_body() {
    let world = world(Limits::default());
    for mut client in world.both() {
        client.send(world.request("HEAD /healthz", ""));
        let head = client.head().unwrap();
        assert_eq!((head.status, head.header("content-length")), (200, Some("4")));
        client.send(world.request("HEAD /three", ""));
        assert_eq!(client.head().unwrap().status, 200);
        assert_eq!(
            client.ask(world.request("GET /echo", "")).body,
            "Get - ",
            "nothing came between"
        );
    }
}

#[test]
fn replies_say_what_every_reply_says() {
    let world = world(Limits::default());
    let mut client = world.over_unix();
    let answer = client.ask(world.request("GET /echo", ""));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert!(answer.header("date").unwrap().ends_with(" GMT"));
    let none = client.ask(world.request("GET /empty", ""));
    assert_eq!((none.status, none.header("content-length")), (204, None));
    assert_eq!(client.ask(world.request("GET /large", "")).body.len(), super::world::LARGE);
}

#[test]
fn a_client_of_http_1_0_gets_its_answer_and_the_end() {
    let world = world(Limits::default());
    let mut client = world.over_unix();
    client.send("GET /three HTTP/1.0\r\n\r\n");
    let all = String::from_utf8(client.rest()).unwrap();
    assert!(all.ends_with("\r\n\r\nonetwothree"), "{all}");
}

#[test]
fn a_client_that_sends_nothing_more_still_gets_its_answer() {
    let world = world(Limits::default());
    for mut client in world.both() {
        client.send(world.request("GET /echo", ""));
        client.finish();
        assert_eq!(client.answer().status, 200);
        assert!(client.is_closed());
    }
}

#[test]
fn a_body_is_asked_for_only_if_it_will_be_taken() {
    let world = world(Limits::default());
    let expecting = "Expect: 100-continue\r\nContent-Length: 3\r\n";
    for mut client in world.both() {
        client.send(world.request("POST /echo", expecting));
        assert_eq!(client.head().unwrap().status, 100);
        assert_eq!(client.ask("abc").body, "Post - abc");
        let other =
            client.ask(world.request("POST /echo", "Expect: magic\r\nContent-Length: 3\r\n"));
        assert_eq!((other.status, other.problem().as_str()), (417, "expectation"));
    }
    let too_much = "Expect: 100-continue\r\nContent-Length: 262145\r\n";
    assert_eq!(world.over_unix().ask(world.request("POST /echo", too_much)).status, 413);
    let stranger = format!("POST /echo HTTP/1.1\r\nHost: {}\r\n{expecting}\r\n", world.tcp);
    assert_eq!(world.over_tcp().ask(stranger).status, 401);
}

#[test]
fn what_cannot_be_read_or_is_too_large_is_refused_with_its_status_and_the_connection_closed() {
    let world = world(Limits::default());
    let long = "x".repeat(9000);
    let many: String = (0..64).map(|n| format!("X-{n}: y\r\n")).collect();
    let heavy: String = (0..3).map(|n| format!("X-{n}: {}\r\n", &long[..6000])).collect();
    let chunks = "20000\r\n".to_owned() + &"x".repeat(0x20000) + "\r\n";
    let with = |fields: &str| world.request("POST /echo", fields);
    let cases = [
        (400, "bad-request", "nonsense\r\n\r\n".to_owned()),
        (400, "bad-request", "GET /echo HTTP/1.1\r\n\r\n".to_owned()),
        (400, "bad-request", "GET /echo HTTP/1.1\nHost: a\n\n".to_owned()),
        (400, "bad-request", "GET /e%zz HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (400, "bad-request", with("Host: b\r\n")),
        (400, "bad-request", with("X : y\r\n")),
        (400, "bad-request", with("X: a\r\n b\r\n")),
        (400, "bad-request", with("X: a\0b\r\n")),
        (400, "bad-request", with("Content-Length: -1\r\n")),
        (400, "bad-request", with("Content-Length: 1\r\nContent-Length: 1\r\n")),
        (400, "bad-request", with("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n")),
        (400, "bad-request", with("Transfer-Encoding: chunked\r\n") + "xyz\r\n"),
        (413, "too-large", with("Content-Length: 262145\r\n") + &long),
        (413, "too-large", with("Transfer-Encoding: chunked\r\n") + &chunks.repeat(2) + "1\r\n"),
        (414, "target-too-long", world.request(&format!("GET /{long}"), "")),
        (431, "headers-too-large", with(&many)),
        (431, "headers-too-large", with(&heavy)),
        (431, "headers-too-large", with(&format!("X: {long}\r\n"))),
        (501, "not-implemented", with("Transfer-Encoding: gzip, chunked\r\n")),
        (501, "not-implemented", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n".to_owned()),
        (505, "version", "GET / HTTP/2.0\r\nHost: a\r\n\r\n".to_owned()),
        (505, "version", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
    ];
    for (status, kind, request) in cases {
        let shown = &request[..request.len().min(60)];
        let mut client = world.over_unix();
        client.try_send(&request);
        let answer = client.answer();
        assert_eq!((answer.status, answer.problem().as_str()), (status, kind), "{shown}");
        if !request.starts_with("CONNECT") {
            assert!(client.is_closed(), "{shown}");
        }
    }
    // The largest that are allowed.
    let most: String = (0..61).map(|n| format!("X-{n}: y\r\n")).collect();
    let body = "b".repeat(64 * 1024);
    let largest = with(&format!("{most}Content-Length: {}\r\n", body.len())) + &body;
    assert_eq!(world.over_tcp().ask(largest).body.len(), "Post - ".len() + body.len());
}

#[test]
fn a_handler_that_panics_or_gives_no_reply_is_a_500_and_the_connection_lives_on() {
    let world = world(Limits::default());
    for mut client in world.both() {
        for path in ["/panic", "/split", "/status"] {
            let answer = client.ask(world.request(&format!("GET {path}"), ""));
            assert_eq!((answer.status, answer.problem().as_str()), (500, "internal"), "{path}");
            assert!(!answer.body.contains("as the test asked"));
        }
        assert_eq!(client.ask(world.request("GET /echo", "")).status, 200);
    }
}

#[test]
fn a_refusal_is_not_lost_to_a_client_that_is_still_sending() {
    // More than a socket takes at once, and no more than a body may have: else it is refused by its length.
    let world = world(Limits { body: 256 * 1024, ..Limits::default() });
    let body = "x".repeat(200 * 1024);
    for _ in 0..20 {
        let mut client = world.over_tcp();
        let length = body.len();
        let host = world.tcp;
        client.try_send(format!(
            "POST /echo HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n"
        ));
        client.try_send(&body);
        assert_eq!(client.answer().status, 401, "within {SOON:?}");
        assert!(client.is_closed());
    }
}
