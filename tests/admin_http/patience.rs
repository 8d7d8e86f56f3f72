//! Deadlines, and what happens when all places are taken.

use std::time::{Duration, Instant};

use super::world::{LARGE, SOON, World, becomes, world};
use recountd::admin::limits::{Limits, Patience};

/// Nobody's patience ends but the one that a test is about.
fn patient() -> Patience {
    let long = SOON * 3;
    Patience {
        first: long,
        idle: long,
        request: long,
        reply: long,
        room: long,
        stuck: long,
        linger: long,
    }
}

fn with(patience: Patience) -> World {
    world(Limits { patience, ..Limits::default() })
}

/// The length of a reply hardly counts.
fn quick(patience: Patience) -> World {
    world(Limits { patience, pace: 1 << 30, ..Limits::default() })
}

const SHORT: Duration = Duration::from_millis(100);

#[test]
fn a_request_that_is_not_complete_in_time_is_a_408_and_a_byte_now_and_then_buys_no_time() {
    let world = with(Patience { request: SHORT * 3, linger: SHORT, ..patient() });
    let half_a_body = world.request("POST /echo", "Content-Length: 3\r\n") + "ab";
    for half in ["G", "GET /echo HTTP/1.1\r\nHo", "\r\n", half_a_body.as_str()] {
        for mut client in world.both() {
            client.send(half);
            let answer = client.answer();
            assert_eq!((answer.status, answer.problem().as_str()), (408, "slow"), "{half:?}");
            client.finish();
            assert!(client.is_closed());
        }
    }
    let mut slow = world.over_unix();
    slow.send("GET /echo HTTP/1.1\r\nX: ");
    let begun = Instant::now();
    while slow.try_send("x") {
        assert!(begun.elapsed() < SOON, "the time for a request ends");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(slow.answer().status, 408);
}

#[test]
fn the_time_for_a_request_begins_with_its_first_byte() {
    let world = with(Patience { request: SHORT * 10, ..patient() });
    let mut client = world.over_unix();
    for _ in 0..4 {
        std::thread::sleep(SHORT * 4);
        assert_eq!(client.ask(world.request("GET /echo", "")).status, 200);
    }
}

#[test]
fn who_says_nothing_is_closed_without_a_word() {
    let world = with(Patience { first: SHORT, ..patient() });
    assert!(world.both().iter_mut().all(super::world::Client::is_closed), "the first request");
    let world = with(Patience { idle: SHORT, ..patient() });
    for mut client in world.both() {
        assert_eq!(client.ask(world.request("GET /echo", "")).status, 200);
        assert!(client.is_closed(), "between requests");
    }
}

#[test]
fn a_client_that_does_not_take_its_reply_is_dropped() {
    let world = quick(Patience { reply: SHORT, ..patient() });
    let mut client = world.over_unix();
    client.send(world.request("GET /large", ""));
    std::thread::sleep(SHORT * 5);
    assert!(client.rest().len() < LARGE, "it was cut");
}

#[test]
fn reading_a_little_now_and_then_buys_no_time_for_a_reply() {
    let world = quick(Patience { reply: SHORT, ..patient() });
    for mut client in world.both() {
        for path in ["/large", "/chunk"] {
            client.send(world.request(&format!("GET {path}"), ""));
            client.trickle(SHORT * 20);
            assert!(client.rest().len() < LARGE, "{path} was cut");
            client = world.over_unix();
        }
    }
}

#[test]
fn a_large_reply_has_time_for_its_length() {
    // At this pace it has 8 s, of which the client lets one go by.
    let limits = Limits { patience: Patience { reply: SHORT, ..patient() }, ..Limits::default() };
    let world = world(Limits { pace: LARGE / 8, ..limits });
    for mut client in world.both() {
        client.send(world.request("GET /large", ""));
        std::thread::sleep(SHORT * 10);
        assert_eq!(client.answer().body.len(), LARGE);
    }
}

#[test]
fn who_waits_longest_without_a_whole_request_makes_room() {
    let limits = Limits { connections: 3, patience: patient(), ..Limits::default() };
    let world = world(limits);
    let mut idle = world.over_unix();
    let mut kept = world.over_unix();
    assert_eq!(kept.ask(world.request("GET /echo", "")).status, 200);
    let mut slow = world.over_unix();
    // Once it has its answer, it is certainly in.
    assert_eq!(slow.ask(world.request("GET /echo", "")).status, 200);
    slow.send("GET /echo HTT");
    // `kept` has asked again, so it waits for less long than the others.
    for _ in 0..5 {
        assert_eq!(kept.ask(world.request("GET /echo", "")).status, 200);
    }
    assert_eq!(world.over_unix().ask(world.request("GET /echo", "")).status, 200);
    assert!(idle.is_closed());
    let mut more: Vec<_> = (0..2).map(|_| world.over_unix()).collect();
    assert!(slow.is_closed());
    for client in &mut more {
        assert_eq!(client.ask(world.request("GET /echo", "")).status, 200);
    }
}

#[test]
fn when_all_are_being_answered_the_next_is_told_to_come_back_at_once() {
    let limits = Limits { connections: 2, patience: patient(), ..Limits::default() };
    let world = world(limits);
    for over_tcp in [false, true] {
        let connect = || if over_tcp { world.over_tcp() } else { world.over_unix() };
        let mut working = [connect(), connect()];
        working.iter_mut().for_each(|client| client.send(world.request("GET /gate", "")));
        world.gate.waits_for(if over_tcp { 4 } else { 2 });
        for _ in 0..20 {
            let mut next = connect();
            next.try_send(world.request("GET /echo", ""));
            let answer = next.answer();
            assert_eq!((answer.status, answer.problem().as_str()), (503, "busy"));
            assert_eq!(answer.header("retry-after"), Some("1"));
            assert!(next.is_closed());
        }
        if over_tcp {
            world.gate.open();
            working.iter_mut().for_each(|client| assert_eq!(client.answer().body, "through"));
        } else {
            // The other listener has places of its own, so these may go on waiting.
            std::mem::forget(working);
        }
    }
}

#[test]
fn who_does_not_take_its_reply_makes_room_as_well() {
    let patience = Patience { stuck: SHORT, ..patient() };
    let world = world(Limits { connections: 2, patience, ..Limits::default() });
    let mut greedy = [world.over_tcp(), world.over_tcp()];
    greedy.iter_mut().for_each(|client| client.send(world.request("GET /large", "")));
    becomes("a real client gets in", || {
        let mut client = world.over_tcp();
        client.try_send(world.request("GET /echo", ""));
        client.try_answer().is_some_and(|answer| answer.status == 200)
    });
}
