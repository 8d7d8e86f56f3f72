//! The part of a job's table that says what its runs do.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::job::{Guard, Percent, Reconcile, Server};
use super::problem::Problem;
use super::reader::{Item, Table, set};
use super::target::{Family, Ghosts, Target};

/// The servers of one kind, by name.
pub type Servers = BTreeMap<String, Arc<Server>>;

const SETTLE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(3600);

/// Reads what a job of the kind `reconcile` does.
pub fn reconcile(table: &mut Table<'_>, mysql: &Servers, redis: &Servers) -> Option<Reconcile> {
    let mysql = server(table, "mysql", mysql);
    let redis = server(table, "redis", redis);
    let query = table
        .require("query", "query = \"SELECT user_id, COUNT(*) FROM ... GROUP BY user_id\"")
        .and_then(|i| query(&i));
    let families = families(table);
    let mut settle = Duration::from_secs(1);
    set(&mut settle, table.get("settle").and_then(|i| i.duration(SETTLE)));
    let ghosts = match table.get("ghosts").and_then(|i| i.choice(&["remove", "keep"])) {
        Some("keep") => Some(Ghosts::Keep),
        Some(_) => Some(Ghosts::Remove),
        None => None,
    };
    let guard = guard(table.get("guard"));
    let mut redis_share = Percent::HALF;
    if let Some(item) = table.get("redis_share")
        && let Some(share) = item.percent()
    {
        if share.factor() < 0.01 {
            let (key, range) = (item.key.clone(), "from 1% to 100%".to_owned());
            item.fail::<()>(Problem::OutOfRange { key, range });
        }
        redis_share = share;
    }
    let (mysql, redis, query, families) = (mysql?, redis?, query?, families?);
    Some(Reconcile { mysql, redis, query, families, settle, ghosts, guard, redis_share })
}

fn query(item: &Item<'_>) -> Option<String> {
    // A semicolon ends a statement at a prompt; inside of the wrapped query of R3 it would break it.
    let text = item.filled_text("one SELECT in quotes")?;
    let query = text.trim_end_matches(|c: char| c == ';' || c.is_whitespace()).trim_start();
    if query.is_empty() {
        return item.fail(Problem::Empty(item.key.clone()));
    }
    Some(query.to_owned())
}

/// The only `target`, or the `targets` by column.
fn families(table: &mut Table<'_>) -> Option<Vec<Family>> {
    const TARGET: &str = "a table, as in { zset = \"count:user:arts\" }";
    const TARGETS: &str = "a table, as in { articles = { zset = \"count:user:arts\" } }";
    if let Some(several) = table.get("targets") {
        if let Some(one) = table.get("target") {
            return one.fail(Problem::TargetAndTargets);
        }
        let mut families: Vec<Family> = Vec::new();
        let mut taken = HashSet::new();
        let named = several.table("`targets`", TARGETS)?.named();
        if named.is_empty() {
            return several.fail(Problem::Empty("targets".to_owned()));
        }
        for item in named {
            let read = item.table(format!("target {}", item.key), TARGET).and_then(target)?;
            if !taken.insert(read.clone()) {
                return item.fail(Problem::SameTarget(read.to_string()));
            }
            families.push(Family { column: Some(Arc::from(item.key.as_str())), target: read });
        }
        return Some(families);
    }
    let item = table.require("target", "target = { zset = \"count:user:arts\" }")?;
    let target = item.table("`target`", TARGET).and_then(target)?;
    Some(vec![Family { column: None, target }])
}

fn guard(item: Option<Item<'_>>) -> Guard {
    let mut guard = Guard { max_changed: Percent::HALF, allow_empty: false };
    let expected = "a table, as in { max_changed = \"50%\", allow_empty = false }";
    if let Some(mut table) = item.and_then(|i| i.table("`guard`", expected)) {
        set(&mut guard.max_changed, table.get("max_changed").and_then(|i| i.percent()));
        set(&mut guard.allow_empty, table.get("allow_empty").and_then(|i| i.boolean()));
        table.finish();
    }
    guard
}

fn target(mut table: Table<'_>) -> Option<Target> {
    const KEY: &str = "a key in quotes";
    let zset = table.get("zset").map(|i| i.filled_text(KEY));
    let hash = table.get("hash").map(|i| i.filled_text(KEY));
    let string = table.get("string").map(|i| i.filled_text(KEY));
    let field = table.get("field").map(|i| i.filled_text("a field in quotes"));
    let read = match (zset, hash, string, field) {
        (Some(key), None, None, None) => Ok(key.map(|k| Target::Zset { key: k.to_owned() })),
        (None, Some(key), None, None) => Ok(key.map(|k| Target::Hash { key: k.to_owned() })),
        (None, Some(key), None, Some(field)) => Ok(key.zip(field).map(|(key, field)| {
            Target::HashField { key: key.to_owned(), field: field.to_owned() }
        })),
        (None, None, Some(key), None) => Ok(key.map(|k| Target::Text { key: k.to_owned() })),
        (Some(_), None, None, Some(_)) | (None, None, Some(_), Some(_)) => {
            Err(Problem::TargetShape("`field` belongs to `hash`"))
        }
        _ => Err(Problem::TargetKind),
    };
    let shaped = read.and_then(|target| match target {
        Some(Target::Zset { key } | Target::Hash { key }) if key.contains(Target::ID) => {
            Err(Problem::TargetShape("a zset or a hash without `field` has one key for all ids"))
        }
        Some(Target::HashField { key, .. } | Target::Text { key })
            if key.matches(Target::ID).count() != 1 =>
        {
            Err(Problem::TargetShape("the key must hold {id} once: it differs from id to id"))
        }
        other => Ok(other),
    });
    // A misspelt key explains a missing one: it is not blamed twice.
    match shaped {
        Err(problem) if !table.has_unknown() => {
            table.fail(problem);
            None
        }
        shaped => {
            table.finish();
            shaped.ok().flatten()
        }
    }
}

/// The server that a job names, or the only one there is.
fn server(table: &mut Table<'_>, kind: &'static str, servers: &Servers) -> Option<Arc<Server>> {
    let known = || servers.keys().cloned().collect();
    if let Some(item) = table.get(kind) {
        let name = item.text("the name of a server in quotes, as in \"main\"")?;
        return servers.get(name).cloned().or_else(|| {
            if name.contains([':', '/', '@']) {
                return item.fail(Problem::UrlForName(kind));
            }
            item.fail(Problem::NoSuchServer { kind, name: name.to_owned(), known: known() })
        });
    }
    let mut all = servers.values();
    match (all.next(), all.next()) {
        (Some(only), None) => Some(Arc::clone(only)),
        _ => {
            let job = table.name.clone();
            table.fail(Problem::WhichServer { job, kind, known: known() });
            None
        }
    }
}
