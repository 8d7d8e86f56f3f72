#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
//! A definition that was made to cost much: what is told of it is short, and it does not need a large stack.

mod common_config;

use common_config::{VALID, accepted};
use recountd::config::Fault;
use serde_json::{Map, Value, json};

/// A valid definition with these keys put over it, in the place of its interval where it has a `cron`.
fn with(changes: &Value) -> Map<String, Value> {
    let base = json!({"interval": "10m", "query": "SELECT 1, 1", "target": {"zset": "k"}});
    let mut map = base.as_object().unwrap().clone();
    map.extend(changes.as_object().unwrap().clone());
    if map.contains_key("cron") {
        map.remove("interval");
    }
    map
}

/// What is wrong with it, told in few words.
#[track_caller]
fn few_faults(name: &str, map: &Map<String, Value>) -> Vec<Fault> {
    let faults = accepted(VALID).added(name, map).unwrap_err();
    assert!(faults.len() <= 21, "{}", faults.len());
    let length = serde_json::to_string(&faults).unwrap().len();
    assert!(length < 64 * 1024, "{length} bytes");
    for Fault { pointer, .. } in &faults {
        let is_place = pointer == "/name" || Value::Object(map.clone()).pointer(pointer).is_some();
        assert!(is_place, "{pointer}");
    }
    faults
}

#[test]
fn of_very_many_faults_the_first_are_told_and_how_many_there_are_beside() {
    let unknown: Map<String, Value> = (0..5_000).map(|n| (format!("k{n:04}"), json!(1))).collect();
    let mut map = with(&json!({}));
    map.extend(unknown);
    map.insert("retries".to_owned(), json!("three"));
    let faults = few_faults("j", &map);
    assert_eq!((faults[0].pointer.as_str(), faults.len()), ("/k0000", 21));
    assert_eq!(faults[20].detail, "4981 more things are wrong with it");
    let faults = few_faults("j", &with(&json!({"mysql": vec![Value::Null; 5_000]})));
    assert_eq!((faults[19].pointer.as_str(), faults.len()), ("/mysql/19", 21));
    assert_eq!(faults[20].detail, "4981 more things are wrong with it");
    let exactly: Map<String, Value> = (0..20).map(|n| (format!("k{n:02}"), json!(1))).collect();
    let mut map = with(&json!({}));
    map.extend(exactly);
    assert!(few_faults("j", &map).iter().all(|fault| fault.pointer.starts_with("/k")));
}

#[test]
fn a_fault_in_a_very_long_text_does_not_repeat_all_of_it() {
    let long = |word: &str| word.repeat(60_000 / word.len());
    for map in [
        with(&json!({"timezone": long("x")})),
        with(&json!({"mysql": long("x")})),
        with(&json!({"kind": long("é")})),
        with(&json!({long("k"): 1})),
        with(&json!({long("k"): vec![Value::Null; 1_000]})),
        with(&json!({"settle": long("1")})),
        with(&json!({"cron": long("1")})),
    ] {
        few_faults("j", &map);
    }
    let faults = few_faults(&long("n"), &with(&json!({"retries": "three"})));
    let pointers: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
    assert_eq!(pointers, ["/name", "/retries"]);
}

/// The loop reads them on its own stack, but a connection has read them on a small one before.
#[test]
fn nothing_is_nested_too_deep_for_a_small_stack() {
    let nested = |open: &str, close: &str| {
        let text = format!("{{\"a\":{}1{}}}", open.repeat(126), close.repeat(126));
        serde_json::from_str::<Map<String, Value>>(&text).unwrap()
    };
    let in_thread = move || {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            few_faults("j", &nested(open, close));
        }
    };
    let thread = std::thread::Builder::new().stack_size(512 * 1024).spawn(in_thread);
    thread.unwrap().join().unwrap();
}
