//! Any job that jobs.toml could have.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use recountd::config::{
    Config, Family, Ghosts, Guard, Job, Limits, Origin, Percent, Ping, Reconcile, Target,
};
use recountd::schedule::{Cron, Interval, Trigger};

fn text() -> impl Strategy<Value = String> {
    let odd =
        ['"', '\'', '\\', ']', '=', '\n', '\r', '\t', '\0', '\u{7f}', '\u{85}', '\u{2028}', '$'];
    let any = prop_oneof![2 => any::<char>(), 1 => select(odd.to_vec()), 2 => prop::char::range(' ', '~')];
    vec(any, 0..12).prop_map(|chars| chars.into_iter().collect())
}

/// A key of Redis: of a visible character at least, and without a place for the id.
fn key() -> impl Strategy<Value = String> {
    text().prop_map(|text| format!("k{}", text.replace("{id}", "")))
}

fn length(least: u64, most: u64) -> impl Strategy<Value = Duration> {
    (least..=most).prop_map(Duration::from_millis)
}

fn triggers(zone: Tz) -> impl Strategy<Value = Trigger> {
    let (first, last) = (-62_100_000_000_000_i64, 253_300_000_000_000);
    let instant = (first..last).prop_map(|ms| DateTime::UNIX_EPOCH + TimeDelta::milliseconds(ms));
    let old = (0..3_000_000_000_000_i64)
        .prop_map(|ms| DateTime::<Utc>::UNIX_EPOCH - TimeDelta::milliseconds(ms));
    let instant = prop_oneof![instant, old].boxed();
    let crons =
        ["* * * * *", "*/7 * * * *", "30 2 * * MON-FRI", " 0 0 29 2 * ", "@weekly", "5 4 3 2 1 *"];
    prop_oneof![
        select(crons.to_vec())
            .prop_map(move |text| Trigger::Cron(Cron::parse(text, zone).unwrap())),
        (length(10, 366 * 86_400_000), prop::option::of(instant.clone()))
            .prop_map(|(every, start)| Trigger::Interval(Interval::new(every, start))),
        instant.prop_map(Trigger::Date),
    ]
}

fn targets() -> impl Strategy<Value = Target> {
    let around = || (key(), key()).prop_map(|(a, b)| format!("{a}{{id}}{b}"));
    prop_oneof![
        key().prop_map(|key| Target::Zset { key }),
        key().prop_map(|key| Target::Hash { key }),
        (around(), key()).prop_map(|(key, field)| Target::HashField { key, field }),
        around().prop_map(|key| Target::Text { key }),
    ]
}

fn families() -> impl Strategy<Value = Vec<Family>> {
    let several = vec((text(), targets()), 1..4).prop_map(|named| {
        let mut seen = BTreeSet::new();
        let mut fresh = |(name, target): &(String, Target)| {
            seen.insert(name.clone()) & seen.insert(format!("{target:?}"))
        };
        let named: Vec<_> = named.into_iter().filter(|named| fresh(named)).collect();
        let family =
            |(name, target): (String, Target)| Family { column: Some(Arc::from(name)), target };
        named.into_iter().map(family).collect()
    });
    prop_oneof![targets().prop_map(|target| vec![Family { column: None, target }]), several]
        .prop_filter("there is none", |families| !families.is_empty())
}

prop_compose! {
    fn limits()(
        misfire_grace in length(100, 366 * 86_400_000),
        (coalesce, max_instances, retries) in (any::<bool>(), 1..=1000_u32, 0..=100_u32),
        timeout in length(1, 366 * 86_400_000),
        [backoff, max_backoff, jitter] in [length(0, 100_000), length(0, 100_000), length(0, 100_000)],
    ) -> Limits {
        Limits { misfire_grace, coalesce, max_instances, timeout, retries, backoff, max_backoff, jitter }
    }
}

/// Any job at all that a file may have beside the servers of this one.
pub fn jobs(config: &Config) -> impl Strategy<Value = Job> + use<> {
    let (mysql, redis) = (config.mysql.values().cloned(), config.redis.values().cloned());
    let servers = (select(mysql.collect::<Vec<_>>()), select(redis.collect::<Vec<_>>()));
    let percent =
        |(whole, part): (u32, u32)| Percent::parse(&format!("{whole}.{part:04}%")).unwrap();
    let ghosts = select(vec![None, Some(Ghosts::Keep), Some(Ghosts::Remove)]);
    let guard = ((0..100_u32, 0..10_000_u32).prop_map(percent), any::<bool>());
    let work = (
        servers,
        text().prop_map(|t| format!("SELECT {t}.")),
        families(),
        length(1, 3_600_000),
        (ghosts, guard, (1..100_u32, 0..10_000_u32).prop_map(percent)),
    );
    let zone = select(TZ_VARIANTS.to_vec());
    let trigger = zone.prop_flat_map(|zone| (Just(zone), triggers(zone)));
    ("[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}", text(), trigger, limits(), work).prop_map(
        |(name, description, (zone, trigger), limits, work)| {
            let ((mysql, redis), query, families, settle, (ghosts, guard, redis_share)) = work;
            let (max_changed, allow_empty) = guard;
            let guard = Guard { max_changed, allow_empty };
            let work =
                Reconcile { mysql, redis, query, families, settle, ghosts, guard, redis_share };
            let (name, origin) = (Arc::from(name), Origin::File);
            Job { name, origin, description, trigger, zone, limits, work, ping: Ping::default() }
        },
    )
}
