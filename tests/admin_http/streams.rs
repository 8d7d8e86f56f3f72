//! Replies that go on and on.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::world::{SOON, becomes, world};
use recountd::admin::limits::Limits;

#[test]
fn a_stream_is_sent_chunk_by_chunk_and_the_connection_goes_on_after_it() {
    let world = world(Limits::default());
    for mut client in world.both() {
        client.send(world.request("GET /three", ""));
        let head = client.head().unwrap();
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        for chunk in ["one", "two", "three"] {
            assert_eq!(client.chunk().as_deref(), Some(chunk));
        }
        assert_eq!(client.chunk(), None);
        assert_eq!(client.ask(world.request("GET /echo", "")).status, 200);
    }
}

#[test]
fn a_stream_ends_when_its_client_leaves() {
    let world = world(Limits::default());
    for mut client in world.both() {
        client.send(world.request("GET /ticks", ""));
        assert_eq!(client.head().unwrap().status, 200);
        assert_eq!(client.chunk().as_deref(), Some(":\n\n"));
        assert_eq!(world.streams.load(Ordering::SeqCst), 1);
        drop(client);
        becomes("the stream ends", || world.streams.load(Ordering::SeqCst) == 0);
    }
}

#[test]
fn a_stream_that_panics_is_cut_off_and_has_no_end() {
    let world = world(Limits::default());
    let mut client = world.over_unix();
    client.send(world.request("GET /broken", ""));
    let all = String::from_utf8(client.rest()).unwrap();
    assert!(all.contains("begun") && !all.ends_with("0\r\n\r\n"), "{all}");
    assert_eq!(world.over_unix().ask(world.request("GET /echo", "")).status, 200);
}

#[test]
fn only_so_many_streams_are_open_at_once_and_never_all_places() {
    let world = world(Limits { connections: 4, streams: 2, ..Limits::default() });
    let mut open = [world.over_unix(), world.over_unix()];
    for client in &mut open {
        client.send(world.request("GET /ticks", ""));
        assert_eq!(client.head().unwrap().status, 200);
    }
    let mut third = world.over_unix();
    let answer = third.ask(world.request("GET /ticks", ""));
    assert_eq!((answer.status, answer.problem().as_str()), (503, "busy"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(
        third.ask(world.request("GET /echo", "")).status,
        200,
        "it may ask for other things"
    );
    // Idle ones make room; streams never do.
    for _ in 0..20 {
        assert_eq!(world.over_unix().ask(world.request("GET /echo", "")).status, 200);
    }
    assert!(open.iter_mut().all(|client| client.chunk().is_some()));
    drop(open);
    becomes("a place for a stream is free again", || {
        let mut client = world.over_unix();
        client.send(world.request("GET /ticks", ""));
        client.head().unwrap().status == 200
    });
}

#[test]
fn stopping_ends_streams_and_everybody_else_and_waits_for_nobody() {
    let world = world(Limits::default());
    let (mut idle, mut stream) = (world.both(), world.over_tcp());
    stream.send(world.request("GET /ticks", ""));
    assert_eq!(stream.head().unwrap().status, 200);
    let mut held = world.over_unix();
    held.send(world.request("GET /gate", ""));
    world.gate.waits_for(1);
    let begun = Instant::now();
    world.admin.stop();
    assert!(begun.elapsed() < SOON / 4, "it waits for nobody");
    assert!(idle.iter_mut().all(super::world::Client::is_closed));
    stream.rest();
    assert!(held.is_closed());
    assert!(std::net::TcpStream::connect(world.tcp).is_err(), "nobody listens any more");
    assert!(!world.unix.exists(), "the socket is gone");
    becomes("the stream ends", || world.streams.load(Ordering::SeqCst) == 0);
}
