//! The client of the API against servers that say what a test wants them to say, on real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod scripted;

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::{Duration, Instant};

use recountd::client::{Client, ClientError, Limits, Place, Strange, Token, segment};
use scripted::{Answer, On, Server, answers, header, ok, says, says_and_waits};
use serde_json::json;

const SOON: Duration = Duration::from_secs(20);

fn client(server: &Server) -> Client {
    client_with(server, Limits::default())
}

fn client_with(server: &Server, limits: Limits) -> Client {
    Client::new(server.place.clone(), Token::new("hunter2"), limits)
}

/// The whole of a test on both kinds of sockets.
fn on_both(test: impl Fn(On)) {
    test(On::Unix);
    test(On::Tcp);
}

#[test]
fn an_answer_is_a_value_and_the_token_goes_over_tcp_only() {
    on_both(|on| {
        let server = Server::start(on, vec![ok(&json!({"jobs": []}))]);
        assert_eq!(client(&server).get("/v1/jobs?a=b").unwrap(), json!({"jobs": []}));
        let requests = server.requests();
        assert!(requests[0].starts_with("GET /v1/jobs?a=b HTTP/1.1\r\n"), "{}", requests[0]);
        let token = header(&requests[0], "authorization");
        assert_eq!(token, (on == On::Tcp).then_some("bearer hunter2"));
        assert!(header(&requests[0], "host").is_some());
        assert_eq!(header(&requests[0], "idempotency-key"), None);
    });
}

#[test]
fn an_answer_in_pieces_of_any_size_is_whole() {
    on_both(|on| {
        let body = json!({"text": "x".repeat(300_000)});
        let text = body.to_string();
        let drip: Answer = Box::new(move |line| {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n\
                        Transfer-Encoding: chunked\r\n\r\n";
            for byte in head.as_bytes() {
                line.write_all(&[*byte]).unwrap();
            }
            for piece in text.as_bytes().chunks(70_001) {
                write!(line, "{:x}\r\n", piece.len()).unwrap();
                line.write_all(piece).unwrap();
                line.write_all(b"\r\n").unwrap();
            }
            line.write_all(b"0\r\n\r\n").unwrap();
        });
        let server = Server::start(on, vec![drip]);
        assert_eq!(client(&server).get("/").unwrap(), body);
    });
}

#[test]
fn a_post_has_a_body_or_none_and_a_key_of_its_own() {
    on_both(|on| {
        let accepted = || answers("202 Accepted", "application/json", r#"{"run":12}"#);
        let server = Server::start(on, vec![accepted(), accepted()]);
        let client = client(&server);
        assert_eq!(client.post("/a", Some(&json!({"dry_run": true}))).unwrap()["run"], 12);
        client.post("/a", None).unwrap();
        let requests = server.requests();
        assert_eq!(header(&requests[0], "content-type"), Some("application/json"));
        assert!(requests[0].ends_with("\r\n\r\n{\"dry_run\":true}"));
        assert_eq!(header(&requests[1], "content-length"), Some("0"));
        assert_eq!(header(&requests[1], "content-type"), None);
        let keys: Vec<&str> =
            requests.iter().map(|r| header(r, "idempotency-key").unwrap()).collect();
        assert!(keys[0].len() == 32 && keys[0] != keys[1], "{keys:?}");
    });
}

#[test]
fn a_patch_and_a_delete_go_through() {
    on_both(|on| {
        let gone = says("HTTP/1.1 204 No Content\r\n\r\n");
        let server = Server::start(on, vec![ok(&json!({"name": "a"})), gone]);
        let client = client(&server);
        let path = format!("/v1/jobs/{}", segment("a/b c?é"));
        assert_eq!(client.patch(&path, &json!({"cron": "* * * * *"})).unwrap()["name"], "a");
        client.delete(&path).unwrap();
        let requests = server.requests();
        assert!(requests[0].starts_with("PATCH /v1/jobs/a%2Fb%20c%3F%C3%A9 HTTP/1.1"));
        assert!(requests[1].starts_with("DELETE /v1/jobs/a%2Fb%20c%3F%C3%A9 HTTP/1.1"));
    });
}

#[test]
fn a_problem_is_told_with_all_its_errors() {
    on_both(|on| {
        let body = json!({
            "type": "urn:recountd:problem:invalid", "title": "not a job", "status": 422,
            "detail": "the job has a mistake",
            "errors": [{"pointer": "/cron", "detail": "61 is no minute", "help": "write 0 to 59"}],
        });
        let kind = "application/problem+json";
        let server = Server::start(on, vec![answers("422 Unprocessable", kind, &body.to_string())]);
        let error = client(&server).post("/v1/jobs", Some(&json!({}))).unwrap_err();
        assert_eq!(error.status(), Some(422));
        let text = error.to_string();
        assert_eq!(text, "the job has a mistake\n  cron: 61 is no minute; write 0 to 59");
    });
}

#[test]
fn a_401_asks_for_the_token_or_for_another() {
    let kind = "application/problem+json";
    let refuses = || answers("401 Unauthorized", kind, r#"{"status":401,"detail":"token"}"#);
    let server = Server::start(On::Tcp, vec![refuses(), refuses()]);
    let error = client(&server).get("/").unwrap_err();
    assert!(error.to_string().contains("does not take this token"), "{error}");
    let error = Client::new(server.place.clone(), None, Limits::default()).get("/").unwrap_err();
    assert!(error.to_string().contains("--token-file FILE or in RECOUNTD_TOKEN"), "{error}");
    assert!(!format!("{:?}", client(&server)).contains("hunter2"));
}

#[test]
fn where_nobody_listens_the_error_names_the_place_and_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.sock");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let left_over = folder.path().join("left.sock");
    drop(UnixListener::bind(&left_over).unwrap());
    for place in [
        Place::Socket(path),
        Place::Socket(left_over),
        Place::parse(&format!("http://127.0.0.1:{port}")).unwrap(),
    ] {
        let client = Client::new(place.clone(), None, Limits::default());
        let error = client.get("/").unwrap_err();
        assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
        let text = error.to_string();
        for words in [&place.to_string(), "is the daemon running?", "--url"] {
            assert!(text.contains(words), "{text}");
        }
    }
}

const CUT: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{\"run\":";

#[test]
fn a_connection_that_is_lost_is_tried_once_more_with_the_same_key() {
    on_both(|on| {
        for cut in ["", "HTTP/1.1 200", CUT, &CUT.replace("Content-Length: 50\r\n", "")] {
            let server = Server::start(on, vec![says(cut), ok(&json!({"run": 12}))]);
            assert_eq!(client(&server).post("/t", None).unwrap()["run"], 12, "{cut:?}");
            let requests = server.requests();
            assert!(header(&requests[0], "idempotency-key").is_some());
            assert_eq!(requests[0], requests[1], "{cut:?}");
        }
    });
}

#[test]
fn a_connection_that_is_lost_for_good_is_not_called_unreachable() {
    on_both(|on| {
        for rest in [vec![], vec![says(CUT)]] {
            let mut lines = vec![says(CUT)];
            lines.extend(rest);
            let server = Server::start(on, lines);
            let error = client(&server).post("/t", None).unwrap_err();
            assert!(matches!(error, ClientError::Lost { .. }), "{error:?}");
            assert!(error.to_string().contains("whether it was done"), "{error}");
        }
        let server = Server::start(on, vec![says(CUT), ok(&json!({}))]);
        let error = client(&server).delete("/v1/jobs/a").unwrap_err();
        assert!(matches!(error, ClientError::Lost { .. }), "asked for once only: {error:?}");
        assert_eq!(client(&server).get("/").unwrap(), json!({}));
        assert!(server.requests()[1].starts_with("GET"));
    });
}

#[test]
fn what_is_not_recountd_is_called_so() {
    on_both(|on| {
        for (answer, what) in [
            (says("SSH-2.0-OpenSSH_9.2\r\n\r\n"), Strange::Protocol),
            (says("HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"), Strange::Protocol),
            (answers("200 OK", "application/json", "{jobs}"), Strange::Json { status: 200 }),
            (
                answers("502 Bad Gateway", "text/html", "<h1>502</h1>"),
                Strange::Type { status: 502, kind: "text/html".to_owned() },
            ),
            (
                answers("500 Oh", "application/json", "{}"),
                Strange::Type { status: 500, kind: "application/json".to_owned() },
            ),
            (
                says("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n"),
                Strange::Type { status: 302, kind: "nothing".to_owned() },
            ),
        ] {
            let server = Server::start(on, vec![answer]);
            match client(&server).get("/").unwrap_err() {
                ClientError::NotRecountd { what: found, .. } => assert_eq!(found, what),
                other => panic!("{what:?}: {other:?}"),
            }
        }
    });
}

#[test]
fn a_huge_answer_is_left_unread() {
    on_both(|on| {
        let endless: Answer = Box::new(|line| {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n\"";
            let mut alive = line.write_all(head.as_bytes()).is_ok();
            while alive {
                alive = line.write_all(&[b'x'; 1 << 16]).is_ok();
            }
        });
        let server = Server::start(on, vec![endless]);
        let error = client(&server).get("/").unwrap_err();
        assert!(matches!(error, ClientError::TooLarge { .. }), "{error:?}");
        assert!(error.to_string().contains("16 MiB"), "{error}");
        server.requests();
    });
}

#[test]
fn an_answer_that_takes_too_long_is_not_waited_for() {
    let limits = Limits { answer: Duration::from_millis(300), ..Limits::default() };
    on_both(|on| {
        let drips: Answer = Box::new(|line| {
            let mut alive = line.write_all(CUT.as_bytes()).is_ok();
            while alive {
                thread::sleep(Duration::from_millis(20));
                alive = line.write_all(b" ").is_ok();
            }
        });
        for answer in [says_and_waits(""), says_and_waits(CUT), drips] {
            let server = Server::start(on, vec![answer]);
            let began = Instant::now();
            let error = client_with(&server, limits).get("/").unwrap_err();
            assert!(matches!(error, ClientError::Slow { .. }), "{error:?}");
            assert!(error.to_string().contains("within 300ms"), "{error}");
            assert!(began.elapsed() < SOON);
            server.requests();
        }
    });
}

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                      Transfer-Encoding: chunked\r\n\r\n";

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

#[test]
fn events_come_as_they_are_sent_whatever_the_pieces() {
    let text = "event: hello\nid: 1\ndata: {\"version\":\"1\"}\n\n:\n\n: comment\nevent: run\r\n\
                data: {\"id\":12,\r\ndata: \"outcome\":\"é\"}\r\n\r\n";
    on_both(|on| {
        for size in [1, 7, 1_000] {
            let bytes = text.as_bytes().to_owned();
            let send: Answer = Box::new(move |line| {
                line.write_all(STREAM.as_bytes()).unwrap();
                for piece in bytes.chunks(size) {
                    write!(line, "{:x}\r\n", piece.len()).unwrap();
                    line.write_all(piece).unwrap();
                    line.write_all(b"\r\n").unwrap();
                    line.flush().unwrap();
                }
                // The end comes only when both were read.
                let _ = line.read(&mut [0]);
            });
            let server = Server::start(on, vec![send]);
            let mut events = client(&server).events("/v1/events?job=a").unwrap();
            let hello = events.next().unwrap().unwrap();
            assert_eq!((hello.name.as_str(), &hello.data["version"]), ("hello", &json!("1")));
            let run = events.next().unwrap().unwrap();
            assert_eq!(run.name, "run");
            assert_eq!(run.data, json!({"id": 12, "outcome": "é"}));
            drop(events);
            server.requests();
        }
    });
}

#[test]
fn a_stream_that_ends_or_breaks_is_over() {
    let whole = chunk("event: gone\ndata: {}\n\n") + &chunk("event: cut\nda");
    on_both(|on| {
        let ended = says(format!("{STREAM}{whole}0\r\n\r\n"));
        let cut = says(format!("{STREAM}{whole}"));
        let server = Server::start(on, vec![ended, cut]);
        for _ in 0..2 {
            let mut events = client(&server).events("/").unwrap();
            assert_eq!(events.next().unwrap().unwrap().name, "gone");
            let end = events.next();
            assert!(matches!(end, None | Some(Err(ClientError::Lost { .. }))), "{end:?}");
            assert!(events.next().is_none());
        }
    });
}

#[test]
fn a_stream_that_is_silent_garbage_or_endless_is_an_error() {
    let limits = Limits { silence: Duration::from_millis(200), bytes: 5_000, ..Limits::default() };
    on_both(|on| {
        let silent = says_and_waits(&format!("{STREAM}{}", chunk(":\n\n")));
        let garbage = says_and_waits(&format!("{STREAM}{}", chunk("data: {oops\n\n")));
        let endless = says(format!("{STREAM}{}", chunk(&"x".repeat(100_000))));
        let many = says(format!("{STREAM}{}", chunk(&"data: 12345678\n".repeat(1_000))));
        let server = Server::start(on, vec![silent, garbage, endless, many]);
        let next = || {
            let mut events = client_with(&server, limits).events("/").unwrap();
            events.next().unwrap().unwrap_err()
        };
        assert!(matches!(next(), ClientError::Slow { limit, .. } if limit == limits.silence));
        assert!(matches!(next(), ClientError::NotRecountd { .. }));
        assert!(matches!(next(), ClientError::TooLarge { .. }));
        assert!(matches!(next(), ClientError::TooLarge { .. }));
    });
}

#[test]
fn a_refusal_in_place_of_a_stream_is_told() {
    on_both(|on| {
        let kind = "application/problem+json";
        let refusal =
            answers("503 Busy", kind, r#"{"status":503,"detail":"too many connections"}"#);
        let server = Server::start(on, vec![refusal, ok(&json!({}))]);
        let error = client(&server).events("/").err().unwrap();
        assert_eq!(
            (error.status(), error.to_string().as_str()),
            (Some(503), "too many connections")
        );
        let error = client(&server).events("/").err().unwrap();
        assert!(matches!(error, ClientError::NotRecountd { .. }), "{error:?}");
    });
}
