//! What has to hold for any bytes at all. The fuzz targets call it, and so does tests/fuzz.rs, with fewer inputs.

// Each target uses one of these, and a broken promise shall stop it at once.
#![allow(dead_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use recountd::config::{self, Config, Family, Job, ServerKind, Surroundings, Target, duration};
use recountd::reconcile::{Amount, Cell, Id, IdSet, read_id, read_truth};
use recountd::schedule::{Cron, Trigger};
use recountd::stores::check_url;
use serde_json::{Map, Value};
use url::Url;

/// jobs.toml is valid or has problems that can be shown, and whatever it schedules goes forward.
pub fn jobs_toml(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let surroundings = Surroundings {
        system_zone: Tz::UTC,
        variable: &|name| Ok(format!("{name}/@?")),
        credential: &|name| Err(format!("there is no credential {name}")),
        check_url: &|_, _| Ok(()),
    };
    match config::parse("jobs.toml", &text, &surroundings) {
        Ok(config) => {
            for job in config.jobs.values() {
                goes_forward(&job.trigger);
            }
            let again = config::parse("jobs.toml", &text, &surroundings);
            assert_eq!(again.ok(), Some(config));
        }
        Err(errors) => {
            assert!(errors.count() > 0 && errors.problems().count() == errors.count());
            assert!(errors.to_string().contains("jobs.toml"));
        }
    }
}

/// A job as JSON is refused with reasons, each at a place that is there, or comes out as it went in and goes forward.
pub fn definition(bytes: &[u8]) {
    let Ok(mut given) = serde_json::from_slice::<Map<String, Value>>(bytes) else {
        return;
    };
    let name = given.remove("name").and_then(|name| name.as_str().map(str::to_owned));
    let name = name.unwrap_or_else(|| "j".to_owned());
    let config = servers_only();
    match config.added(&name, &given) {
        Ok(job) => {
            goes_forward(&job.trigger);
            let shown = config::definition(&job);
            let text = Value::Object(shown.clone()).to_string();
            let read = serde_json::from_str(&text).unwrap();
            let again = config.added(&name, &read).unwrap();
            assert_eq!(config::definition(&again), shown);
            // The keys of a JSON object have no order.
            let ordered = |mut job: Job| {
                job.work.families.sort_by_key(Family::name);
                job
            };
            assert_eq!(ordered(again), ordered(job));
        }
        Err(faults) => {
            assert!(!faults.is_empty());
            let given = Value::Object(given);
            for fault in faults {
                assert!(!fault.detail.is_empty() && fault.help.is_none_or(|help| !help.is_empty()));
                let pointer = fault.pointer.as_str();
                assert!(pointer == "/name" || given.pointer(pointer).is_some(), "{pointer}");
            }
        }
    }
}

/// A file with two servers and no job.
fn servers_only() -> Config {
    let surroundings = Surroundings {
        system_zone: Tz::Europe__Berlin,
        variable: &|_| Err("none".to_owned()),
        credential: &|_| Err("none".to_owned()),
        check_url: &|_, _| Ok(()),
    };
    let text = "mysql.main.url = 'mysql://a'\nredis.main.url = 'redis://a'\njobs = {}";
    config::parse("jobs.toml", text, &surroundings).unwrap()
}

/// A crontab line is refused with a reason, or means the same when it is read again, and goes forward. The first two
/// bytes choose the zone.
pub fn cron(bytes: &[u8]) {
    let Some((&[high, low], line)) = bytes.split_first_chunk() else {
        return;
    };
    let zone = TZ_VARIANTS[usize::from(u16::from_be_bytes([high, low])) % TZ_VARIANTS.len()];
    match Cron::parse(&String::from_utf8_lossy(line), zone) {
        Ok(cron) => {
            assert_eq!(Cron::parse(cron.source(), zone).ok().as_ref(), Some(&cron));
            goes_forward(&Trigger::Cron(cron));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Slots lie after the instant asked for, and in order (S4), from whatever instant on.
fn goes_forward(trigger: &Trigger) {
    const FROM: [i64; 8] = [
        i64::MIN,
        -1,
        0,
        1_774_746_000, // Daylight saving begins in Europe, 2026-03-29,
        1_792_890_000, // and ends, 2026-10-25.
        1_867_276_799, // The 29th of February has just gone by, 2029.
        4_133_980_799, // The end of 2100, where the tables end.
        i64::MAX,
    ];
    assert!(!trigger.to_string().is_empty() && !trigger.identity().is_empty());
    for seconds in FROM {
        let edge = if seconds < 0 { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC };
        let mut at = DateTime::from_timestamp(seconds, 0).unwrap_or(edge);
        for _ in 0..3 {
            let Some(next) = trigger.next_after(at) else {
                break;
            };
            assert!(next > at, "{trigger} goes from {at} to {next}");
            let before = next - TimeDelta::nanoseconds(1);
            assert!(trigger.next_after(before) == Some(next), "{trigger} loses {next}");
            at = next;
        }
    }
}

/// A duration is refused with a reason, or is the same when it is written and read again.
pub fn duration(bytes: &[u8]) {
    match duration::parse(&String::from_utf8_lossy(bytes)) {
        Ok(length) => assert_eq!(duration::parse(&duration::format(length)), Ok(length)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A URL is accepted or refused in one line that does not hold its password.
pub fn url(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    // To read a device as a certificate could take for ever.
    if text.contains("dev") {
        return;
    }
    const PASSWORD: &str = "topsecret";
    let elsewhere = Url::parse(&text).is_ok_and(|url| url.password() != Some(PASSWORD));
    let hidden = !elsewhere && text.matches(PASSWORD).count() == 1;
    for kind in [ServerKind::Mysql, ServerKind::Redis] {
        if let Err(reason) = check_url(kind, &text) {
            assert!(!reason.is_empty() && reason.lines().count() == 1, "{reason}");
            assert!(!(hidden && reason.contains(PASSWORD)), "{reason}");
        }
    }
}

/// An id keeps its bytes, an amount its value, and a row of any bytes is read or refused with a reason.
pub fn row(bytes: &[u8]) {
    let id = Id::from_bytes(bytes);
    assert_eq!(id.to_bytes(), bytes);
    assert_eq!(Id::from_bytes(&id.to_bytes()), id);
    let mut ids = IdSet::default();
    assert!(!ids.contains(&id) && ids.insert(&id) && !ids.insert(&id) && ids.contains(&id));

    let text = String::from_utf8_lossy(bytes);
    // Beyond 2^53 a fraction is rounded to a whole number, which reads as one the next time.
    if let Some(amount) = Amount::from_text(&text).filter(|amount| amount.fits_score()) {
        assert_eq!(Amount::from_text(&amount.to_string()), Some(amount), "{text}");
        assert!(amount.minus(amount).is_zero() && amount.plus(Amount::ZERO) == amount, "{text}");
    }

    let (first, second) = bytes.split_at(bytes.len() / 2);
    for id in cells(first) {
        for value in cells(second) {
            for target in [Target::Zset { key: "k".into() }, Target::Hash { key: "k".into() }] {
                let truth = read_id(&id).and_then(|id| read_truth(&id, &value, &target));
                match (truth, &target) {
                    (Ok(truth), Target::Zset { .. }) => assert!(truth.fits_score(), "{truth}"),
                    (Ok(truth), _) => assert!(matches!(truth, Amount::Int(_)), "{truth}"),
                    (Err(refusal), _) => assert!(!refusal.to_string().is_empty()),
                }
            }
        }
    }
}

/// The bytes as each of the kinds of column that MySQL has.
fn cells(bytes: &[u8]) -> [Cell; 6] {
    let mut number = [0; 8];
    for (into, from) in number.iter_mut().zip(bytes) {
        *into = *from;
    }
    [
        Cell::Null,
        Cell::Int(i64::from_le_bytes(number)),
        Cell::UInt(u64::from_le_bytes(number)),
        Cell::Float(f64::from_le_bytes(number)),
        Cell::Bytes(bytes.to_vec()),
        Cell::Time(String::from_utf8_lossy(bytes).into_owned()),
    ]
}
