//! Who is told how a slot ended.

use super::*;
use crate::config::PingUrl;

fn record(cause: Cause, end: SlotEnd, ping: Ping) -> Record {
    let (slot, run) = (midnight(), RunId(1));
    let job = job("a", |j| j.ping = ping);
    Record { job, slot, run, cause, started: None, took: None, stands_for: 1, end }
}

fn both() -> Ping {
    let url = |path: &str| PingUrl::parse(&format!("https://hc-ping.com/{path}")).ok();
    Ping { success: url("good"), failure: url("bad") }
}

fn ran(outcome: Outcome) -> SlotEnd {
    SlotEnd::Ran { outcome, attempts: 1, reason: None, report: None }
}

#[test]
fn a_run_that_did_its_work_is_a_success_and_one_that_did_not_a_failure() {
    for (outcome, told) in [
        (Outcome::Clean, Some("good")),
        (Outcome::Repaired, Some("good")),
        (Outcome::Partial, Some("good")),
        (Outcome::Failed, Some("bad")),
        (Outcome::Refused, Some("bad")),
        (Outcome::Drift, None),
    ] {
        let want = told.map(|path| format!("https://hc-ping.com/{path}"));
        for cause in [Cause::Slot, Cause::Trigger { dry_run: false }] {
            let record = record(cause, ran(outcome), both());
            assert_eq!(record.ping().map(PingUrl::reveal), want.as_deref(), "{outcome:?}");
        }
        let dry = record(Cause::Trigger { dry_run: true }, ran(outcome), both());
        assert_eq!(dry.ping(), None, "a dry run proves nothing, however it ended");
    }
}

#[test]
fn what_did_not_run_and_whom_nobody_named_is_not_told() {
    let late = SlotEnd::Missed { late: Duration::from_secs(90) };
    let paused = SlotEnd::Paused { since: midnight() };
    for end in [late, paused, SlotEnd::OverLimit, SlotEnd::Reload, SlotEnd::Shutdown] {
        assert_eq!(record(Cause::Slot, end, both()).ping(), None);
    }
    let only_failure = || Ping { success: None, ..both() };
    for ping in [Ping::default(), only_failure()] {
        assert_eq!(record(Cause::Slot, ran(Outcome::Clean), ping).ping(), None);
    }
    assert!(record(Cause::Slot, ran(Outcome::Failed), only_failure()).ping().is_some());
}
