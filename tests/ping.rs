//! Pings, to real servers that answer well, badly, without end or not at all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Once};
use std::thread;
use std::time::{Duration, Instant};

use log::{LevelFilter, Log, Metadata, Record};
use recountd::config::PingUrl;
use recountd::ping::{self, Pinger};
use support::eventually;

/// Long enough for whatever is not measured in a test.
const SOON: Duration = Duration::from_secs(30);
/// Everything that was logged at debug and above, by any test of this file.
static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Keeper;

impl Log for Keeper {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        LOG.lock().unwrap().push(format!("{} {}", record.level(), record.args()));
    }

    fn flush(&self) {}
}

fn keep_the_log() {
    static BEGIN: Once = Once::new();
    BEGIN.call_once(|| {
        log::set_logger(&Keeper).unwrap();
        log::set_max_level(LevelFilter::Debug);
    });
}

/// The warnings about this job.
fn warnings(job: &str) -> Vec<String> {
    let log = LOG.lock().unwrap();
    log.iter().filter(|line| line.starts_with(&format!("WARN {job}:"))).cloned().collect()
}

/// What a server was asked: the path, when, and the whole head.
#[derive(Clone)]
struct Asked {
    path: String,
    at: Instant,
    head: String,
}

/// A server that does to each request what its path says.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// Bytes of bodies that clients took.
    sent: Arc<AtomicU64>,
}

impl Server {
    fn start() -> Self {
        keep_the_log();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, asked, sent) =
            (listener.local_addr().unwrap(), Arc::default(), Arc::default());
        let server = Self { address, asked, sent };
        let (asked, sent) = (Arc::clone(&server.asked), Arc::clone(&server.sent));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (asked, sent) = (Arc::clone(&asked), Arc::clone(&sent));
                thread::spawn(move || serve(stream.unwrap(), &asked, &sent));
            }
        });
        server
    }

    fn url(&self, path: &str) -> PingUrl {
        PingUrl::parse(&format!("http://{}/topsecret/{path}", self.address)).unwrap()
    }

    fn asked(&self, path: &str) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.path == format!("/topsecret/{path}")).cloned().collect()
    }

    #[track_caller]
    fn is_asked(&self, path: &str, times: usize) {
        eventually(SOON, path, || self.asked(path).len() >= times);
    }
}

fn serve(mut stream: TcpStream, asked: &Mutex<Vec<Asked>>, sent: &AtomicU64) {
    let mut head = String::new();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let nth = {
        let mut asked = asked.lock().unwrap();
        asked.push(Asked { path: path.clone(), at: Instant::now(), head });
        asked.iter().filter(|asked| asked.path == path).count()
    };
    let empty = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    let answer = match path.rsplit('/').next().unwrap() {
        "mute" => {
            // Until the other side goes away.
            stream.set_read_timeout(Some(SOON * 2)).unwrap();
            stream.read_exact(&mut [0]).ok();
            asked.lock().unwrap().push(Asked {
                path: "gone".into(),
                at: Instant::now(),
                head: String::new(),
            });
            return;
        }
        "huge" => {
            let begin = "HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n";
            stream.write_all(begin.as_bytes()).unwrap();
            while let Ok(bytes) = stream.write(&[b'x'; 65_536]) {
                sent.fetch_add(bytes as u64, SeqCst);
            }
            return;
        }
        "slow" => {
            thread::sleep(Duration::from_millis(300));
            empty("200 OK")
        }
        "flaky" if nth == 1 => empty("500 Oops"),
        "broken" => empty("503 Oops"),
        "unknown" => empty("404 No"),
        "loop" => {
            format!("HTTP/1.1 302 Over there\r\nLocation: {path}\r\nContent-Length: 0\r\n\r\n")
        }
        "moved" => "HTTP/1.1 301 There\r\nLocation: here\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "nonsense" => "220 mail.example ESMTP\r\n\r\n".to_owned(),
        _ => empty("200 OK"),
    };
    stream.write_all(answer.as_bytes()).ok();
}

fn job(name: &str) -> Arc<str> {
    Arc::from(name)
}

#[test]
fn a_ping_is_one_get_in_our_name() {
    let (server, pinger) = (Server::start(), Pinger::start().unwrap());
    pinger.tell(&job("one"), &server.url("ok"));
    pinger.tell(&job("moved"), &server.url("moved"));
    server.is_asked("ok", 1);
    server.is_asked("here", 1);
    pinger.close();
    assert_eq!(server.asked("ok").len(), 1);
    let head = server.asked("ok")[0].head.to_lowercase();
    assert!(head.starts_with("get /topsecret/ok http/1.1\r\n"), "{head}");
    let name = format!("\r\nuser-agent: recountd/{}\r\n", env!("CARGO_PKG_VERSION"));
    assert!(head.contains(&name), "{head}");
    assert_eq!(warnings("one"), Vec::<String>::new());
}

#[test]
fn a_server_that_stumbles_is_asked_again_and_one_that_refuses_is_not() {
    let (server, pinger) = (Server::start(), Pinger::start().unwrap());
    pinger.tell(&job("unknown"), &server.url("unknown"));
    pinger.tell(&job("flaky"), &server.url("flaky"));
    server.is_asked("flaky", 2);
    let flaky = server.asked("flaky");
    assert!(flaky[1].at - flaky[0].at >= Duration::from_millis(950));
    // Its second try would have come before.
    assert_eq!(server.asked("unknown").len(), 1);
    pinger.close();
    assert_eq!(warnings("flaky"), Vec::<String>::new());
    let want = format!("WARN unknown: the ping to {} failed: it answered 404", server.address);
    assert_eq!(warnings("unknown"), [want]);
}

#[test]
fn three_tries_are_all_and_then_the_log_says_so_without_the_path() {
    let (server, pinger) = (Server::start(), Pinger::start().unwrap());
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = PingUrl::parse(&format!("http://{nobody}/topsecret")).unwrap();
    pinger.tell(&job("nobody"), &nobody);
    pinger.tell(&job("broken"), &server.url("broken"));
    for name in ["broken", "nobody"] {
        eventually(SOON, name, || !warnings(name).is_empty());
    }
    let tries = server.asked("broken");
    assert_eq!(tries.len(), 3);
    assert!(tries[2].at - tries[1].at >= Duration::from_millis(2_950));
    pinger.close();
    let want = format!("WARN broken: the ping to {} failed: it answered 503", server.address);
    assert_eq!(warnings("broken"), [want]);
    assert!(warnings("nobody")[0].contains("refused"), "{:?}", warnings("nobody"));
}

#[test]
fn a_redirect_loop_and_nonsense_come_to_an_end() {
    let (server, pinger) = (Server::start(), Pinger::start().unwrap());
    pinger.tell(&job("nonsense"), &server.url("nonsense"));
    pinger.tell(&job("loop"), &server.url("loop"));
    eventually(SOON, "the end of the loop", || !warnings("loop").is_empty());
    assert_eq!(server.asked("loop").len(), 4, "the first and three redirects");
    assert!(
        warnings("loop")[0].ends_with("failed: more than 3 redirects"),
        "{:?}",
        warnings("loop")
    );
    eventually(SOON, "the end of the nonsense", || !warnings("nonsense").is_empty());
    assert!(warnings("nonsense")[0].ends_with("the answer is no HTTP"));
    pinger.close();
}

#[test]
fn a_body_without_end_is_not_read() {
    let (server, pinger) = (Server::start(), Pinger::start().unwrap());
    pinger.tell(&job("huge"), &server.url("huge"));
    // The next one to the same host goes as soon as this one is done.
    pinger.tell(&job("after"), &server.url("ok"));
    server.is_asked("ok", 1);
    pinger.close();
    assert_eq!(warnings("huge"), Vec::<String>::new());
    let sent = server.sent.load(SeqCst);
    assert!(sent < 100_000_000, "what the buffers of two sockets take: {sent}");
}

#[test]
fn a_server_that_never_answers_holds_nobody_else_up() {
    let (mute, other, pinger) = (Server::start(), Server::start(), Pinger::start().unwrap());
    for name in ["mute-1", "mute-2", "mute-3"] {
        pinger.tell(&job(name), &mute.url("mute"));
    }
    mute.is_asked("mute", 1);
    for name in 0..100 {
        pinger.tell(&job(&format!("other-{name}")), &other.url("ok"));
    }
    other.is_asked("ok", 100);
    assert_eq!(mute.asked("mute").len(), 1, "one at a time, and the others went meanwhile");
    // Its time is over after ten seconds; then another job's ping has its turn.
    mute.is_asked("mute", 2);
    let gone = || mute.asked.lock().unwrap().iter().find(|asked| asked.path == "gone").cloned();
    eventually(SOON, "the first is given up", || gone().is_some());
    let held = gone().unwrap().at - mute.asked("mute")[0].at;
    assert!(held >= Duration::from_millis(9_900), "{held:?}");
    let begun = Instant::now();
    pinger.close();
    // Two seconds are what the pings get; the rest is for a busy machine.
    assert!(begun.elapsed() >= ping::AT_THE_END - Duration::from_millis(50));
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
}

#[test]
fn what_waits_at_the_end_is_sent_without_waiting_any_longer() {
    let (server, pinger) = (Server::start(), Pinger::start().unwrap());
    pinger.tell(&job("late"), &server.url("broken"));
    server.is_asked("broken", 2);
    // Its host is free for this one when that try is over; then it waits for three seconds, which are more than the
    // end has.
    pinger.tell(&job("mark"), &server.url("mark"));
    server.is_asked("mark", 1);
    for number in 0..20 {
        pinger.tell(&job(&format!("late-{number}")), &server.url("ok"));
    }
    pinger.close();
    assert_eq!(server.asked("ok").len(), 20);
    assert_eq!(server.asked("broken").len(), 3);
}

#[test]
fn the_last_word_of_a_job_is_the_latest() {
    let (slow, fast, pinger) = (Server::start(), Server::start(), Pinger::start().unwrap());
    pinger.tell(&job("last"), &slow.url("slow"));
    pinger.tell(&job("last"), &fast.url("ok"));
    fast.is_asked("ok", 1);
    let waited = fast.asked("ok")[0].at - slow.asked("slow")[0].at;
    assert!(waited >= Duration::from_millis(290), "{waited:?}");
    pinger.close();
}

#[test]
fn a_queue_that_is_full_drops_with_one_warning_and_nothing_waits_twice() {
    let (mute, pinger) = (Server::start(), Pinger::start().unwrap());
    pinger.tell(&job("full-first"), &mute.url("mute"));
    mute.is_asked("mute", 1);
    for number in 0..ping::MOST + 50 {
        // The same once more is the same.
        for _ in 0..2 {
            pinger.tell(&job(&format!("full-{number}")), &mute.url("mute"));
        }
    }
    let dropped = |number: usize| warnings(&format!("full-{number}"));
    assert_eq!(dropped(ping::MOST).len(), 1, "the first that did not fit");
    assert!(dropped(ping::MOST)[0].ends_with("are dropped"));
    let all = (0..ping::MOST + 50).filter(|number| *number != ping::MOST);
    assert_eq!(all.map(|number| dropped(number).len()).sum::<usize>(), 0);
    drop(pinger);
}

#[test]
fn no_line_of_the_log_has_the_path() {
    let (server, pinger) = (Server::start(), Pinger::start().unwrap());
    for path in ["ok", "unknown", "loop", "nonsense", "moved"] {
        pinger.tell(&job(&format!("secret-{path}")), &server.url(path));
    }
    for name in ["secret-unknown", "secret-loop"] {
        eventually(SOON, name, || !warnings(name).is_empty());
    }
    pinger.close();
    // With those of all the tests that have run so far.
    for line in LOG.lock().unwrap().iter() {
        assert!(!line.contains("topsecret"), "{line}");
    }
}
