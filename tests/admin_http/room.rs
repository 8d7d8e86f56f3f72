//! How much memory replies take that nobody reads.

use std::time::Duration;

use super::world::{LARGE, SOON, World, becomes, world};
use recountd::admin::limits::{Limits, Patience};

/// Room for one large reply and a half.
fn small_world(room: Duration) -> World {
    let patience = Patience { reply: SOON * 3, room, ..Patience::default() };
    world(Limits { replies: LARGE * 3 / 2, patience, ..Limits::default() })
}

#[test]
fn replies_that_nobody_reads_leave_no_room_for_another_large_one_on_any_listener() {
    let world = small_world(Duration::from_millis(100));
    let mut greedy = world.over_tcp();
    greedy.send(world.request("GET /large", ""));
    assert_eq!(greedy.head().unwrap().status, 200);
    for mut client in world.both() {
        let answer = client.ask(world.request("GET /large", ""));
        assert_eq!((answer.status, answer.problem().as_str()), (503, "busy"));
        assert_eq!(answer.header("retry-after"), Some("1"));
        // What is small passes, and so does what has no body.
        assert_eq!(client.ask(world.request("GET /echo", "")).status, 200);
        client.send(world.request("HEAD /large", ""));
        assert_eq!(client.head().unwrap().status, 200);
    }
    let mut stream = world.over_unix();
    stream.send(world.request("GET /chunk", ""));
    assert!(stream.rest().len() < LARGE, "a stream is cut off");
    drop(greedy);
    becomes("there is room again", || {
        world.over_unix().ask(world.request("GET /large", "")).body.len() == LARGE
    });
}

#[test]
fn a_reply_waits_for_the_room_of_another() {
    let world = small_world(SOON);
    let mut first = world.over_unix();
    first.send(world.request("GET /large", ""));
    assert_eq!(first.head().unwrap().status, 200);
    let mut second = world.over_tcp();
    second.send(world.request("GET /large", ""));
    std::thread::sleep(Duration::from_millis(100));
    assert!(first.rest_of(LARGE));
    assert_eq!(second.answer().body.len(), LARGE);
}

#[test]
fn a_reply_that_is_larger_than_all_room_is_sent_alone() {
    let world = world(Limits { replies: LARGE / 2, ..Limits::default() });
    for mut client in world.both() {
        assert_eq!(client.ask(world.request("GET /large", "")).body.len(), LARGE);
    }
}
