//! The tables of jobs.toml, one function each.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use toml::de::DeTable;
use url::Url;

use super::job::{Ghosts, Guard, Job, Limits, Percent, Reconcile, Server, ServerUrl, Target};
use super::problem::Problem;
use super::reader::{Item, Problems, Table};
use super::{Config, Daemon, Keep, ServerKind, Surroundings, placeholder};
use crate::schedule::{Cron, Interval, Trigger};

const DAY: Duration = Duration::from_secs(86_400);
const YEAR: Duration = Duration::from_secs(366 * 86_400);
const HOUR: Duration = Duration::from_secs(3600);
const MS: Duration = Duration::from_millis(1);

type Servers = BTreeMap<String, Arc<Server>>;

/// Reads a whole file; the problems come in the order of the text.
pub fn read(
    text: &str,
    surroundings: &Surroundings<'_>,
) -> Result<Config, Vec<(Range<usize>, Problem)>> {
    let (document, syntax) = DeTable::parse_recoverable(text);
    if !syntax.is_empty() {
        // What the parser skipped would only look missing: the text has to be TOML first.
        let problem = |e: &toml::de::Error| {
            (e.span().unwrap_or(0..0), Problem::Syntax(e.message().to_owned()))
        };
        return Err(syntax.iter().map(problem).collect());
    }
    let problems = Problems::default();
    let root = Table::new("the file", 0..0, document.get_ref(), &problems);
    let config = File { text, surroundings, problems: &problems }.read(root);
    let found = problems.into_sorted();
    match config {
        Some(config) if found.is_empty() => Ok(config),
        _ => Err(found),
    }
}

struct File<'a> {
    text: &'a str,
    surroundings: &'a Surroundings<'a>,
    problems: &'a Problems,
}

/// What a job takes from the rest of the file.
struct Shared {
    zone: Tz,
    limits: Limits,
    mysql: Servers,
    redis: Servers,
}

impl File<'_> {
    fn read(&self, mut root: Table<'_>) -> Option<Config> {
        let daemon = self.daemon(root.get("daemon"));
        let mysql = self.servers(ServerKind::Mysql, root.get("mysql"));
        let redis = self.servers(ServerKind::Redis, root.get("redis"));
        let limits = match root.get("defaults").and_then(|i| i.table("[defaults]", "a table")) {
            Some(mut table) => {
                let limits = limits(&mut table, &Limits::default());
                table.finish();
                limits
            }
            None => Limits::default(),
        };
        let jobs = root.require("jobs", "a table [jobs.NAME] for each job");
        let jobs = jobs.and_then(|i| i.table("[jobs]", "tables, as in [jobs.user-articles]"));
        root.finish();
        let shared = Shared { zone: daemon.timezone, limits, mysql, redis };
        let tables = jobs?.named();
        let jobs = tables.iter().filter_map(|item| self.job(item, &shared));
        let jobs = jobs.map(|job| (Arc::clone(&job.name), Arc::new(job))).collect();
        Some(Config { daemon, mysql: shared.mysql, redis: shared.redis, jobs })
    }

    fn daemon(&self, item: Option<Item<'_>>) -> Daemon {
        let mut daemon = Daemon {
            timezone: self.surroundings.system_zone,
            workers: 10,
            state: None,
            keep: Keep { age: Duration::from_secs(30 * 86_400), runs: 10_000 },
            shutdown_timeout: Duration::from_secs(30),
        };
        let Some(mut table) = item.and_then(|i| i.table("[daemon]", "a table")) else {
            return daemon;
        };
        set(&mut daemon.timezone, table.get("timezone").and_then(|i| i.zone()));
        set(&mut daemon.workers, table.get("workers").and_then(|i| i.integer(1..=1024)));
        daemon.state =
            table.get("state").and_then(|i| i.filled_text("a path in quotes")).map(PathBuf::from);
        set(&mut daemon.keep.age, table.get("keep").and_then(|i| i.duration(HOUR..=YEAR * 10)));
        set(&mut daemon.keep.runs, table.get("keep_runs").and_then(|i| i.integer(1..=1_000_000)));
        set(
            &mut daemon.shutdown_timeout,
            table.get("shutdown_timeout").and_then(|i| i.duration(Duration::ZERO..=DAY)),
        );
        table.finish();
        daemon
    }

    fn servers(&self, kind: ServerKind, item: Option<Item<'_>>) -> Servers {
        let word = kind.word();
        let Some(table) = item.and_then(|i| i.table(format!("[{word}]"), "tables, one a server"))
        else {
            return Servers::new();
        };
        let server = |item: &Item<'_>| {
            let name = item.key.clone();
            let label = format!("[{word}.{name}]");
            let mut table = item.table(label, "a table, as in [mysql.main]")?;
            let url = table.require("url", "url = \"scheme://user:password@host:port/database\"");
            let url = url.map(|i| self.url(kind, &i));
            table.finish();
            // A server with a bad URL stays known, so that its jobs are not blamed as well.
            let url = url.flatten().or_else(|| Url::parse("unusable:///").ok())?;
            let url = ServerUrl::new(url);
            Some((name.clone(), Arc::new(Server { name, url })))
        };
        table.named().iter().filter_map(server).collect()
    }

    fn url(&self, kind: ServerKind, item: &Item<'_>) -> Option<Url> {
        let template = item.filled_text("a URL in quotes")?;
        let filled = match placeholder::fill(template, self.surroundings) {
            Ok(filled) => filled,
            Err(problem) => return item.fail(problem),
        };
        let url = match Url::parse(&filled) {
            Ok(url) => url,
            Err(error) => return item.fail(Problem::Url(error.to_string())),
        };
        // A password with a raw `/` or `?` ends the host, and the rest of it would be shown as if
        // it were a path. The library must not even quote it.
        if [url.path(), url.query().unwrap_or(""), url.fragment().unwrap_or("")]
            .iter()
            .any(|part| part.contains('@'))
        {
            return item.fail(Problem::RawPassword);
        }
        match (self.surroundings.check_url)(kind, url.as_str()) {
            Ok(()) => Some(url),
            Err(reason) => item.fail(Problem::Url(reason)),
        }
    }

    fn job(&self, item: &Item<'_>, shared: &Shared) -> Option<Job> {
        let name = item.key.as_str();
        if !is_job_name(name) {
            self.problems.add(item.key_span.clone(), Problem::JobName(name.to_owned()));
        }
        let label = format!("job {name}");
        let mut table = item.table(label, "a table, as in [jobs.user-articles]")?;
        let description = table.get("description").and_then(|i| i.text("a text in quotes"));
        let description = description.unwrap_or_default().to_owned();
        let zone = table.get("timezone").map_or(Some(shared.zone), |i| i.zone());
        let trigger = self.trigger(&mut table, zone.unwrap_or(shared.zone));
        let limits = limits(&mut table, &shared.limits);
        table.get("kind").and_then(|i| i.choice(&["reconcile"]));
        let work = reconcile(&mut table, shared);
        table.finish();
        let (name, zone) = (Arc::from(name), zone?);
        Some(Job { name, description, trigger: trigger?, zone, limits, work: work? })
    }

    fn trigger(&self, table: &mut Table<'_>, zone: Tz) -> Option<Trigger> {
        let cron = table.get("cron");
        let interval = table.get("interval");
        let date = table.get("date");
        let start = table.get("start");
        let given: Vec<&Item<'_>> = [&cron, &interval, &date].into_iter().flatten().collect();
        if given.len() > 1 {
            let names: Vec<&str> = given.iter().map(|i| i.key.as_str()).collect();
            let problem = Problem::TwoTriggers {
                job: table.name.clone(),
                count: given.len(),
                names: names.join(", "),
            };
            if let Some(last) = given.iter().max_by_key(|i| i.key_span.start) {
                self.problems.add(last.key_span.clone(), problem);
            }
        }
        if let (Some(start), None) = (&start, &interval) {
            self.problems.add(start.key_span.clone(), Problem::StartWithoutInterval);
        }
        let every = interval.as_ref().map(|i| i.duration(Duration::from_millis(10)..=YEAR));
        let start = start.map(|i| i.instant(zone));
        let date = date.map(|i| i.instant(zone));
        let cron = cron.map(|i| self.cron(&i, zone));
        match (cron, every, date) {
            (Some(cron), _, _) => cron.map(Trigger::Cron),
            (_, Some(every), _) => {
                let anchor = match start {
                    Some(start) => Some(start?),
                    None => None,
                };
                Some(Trigger::Interval(Interval::new(every?, anchor)))
            }
            (_, _, Some(date)) => date.map(Trigger::Date),
            (None, None, None) => {
                table.fail(Problem::NoTrigger(table.name.clone()));
                None
            }
        }
    }

    fn cron(&self, item: &Item<'_>, zone: Tz) -> Option<Cron> {
        let text = item.text("an expression in quotes, as in \"0 3 * * *\"")?;
        match Cron::parse(text, zone) {
            Ok(cron) => Some(cron),
            Err(error) => item.fail_inside(error.span.clone(), self.text, Problem::Cron(error)),
        }
    }
}

fn limits(table: &mut Table<'_>, base: &Limits) -> Limits {
    let mut limits = base.clone();
    let duration =
        |table: &mut Table<'_>, key, least| table.get(key).and_then(|i| i.duration(least..=YEAR));
    // Less than the time that a thread takes to start would let no slot run at all.
    let least_grace = Duration::from_millis(100);
    set(&mut limits.misfire_grace, duration(table, "misfire_grace", least_grace));
    set(&mut limits.coalesce, table.get("coalesce").and_then(|i| i.boolean()));
    set(&mut limits.max_instances, table.get("max_instances").and_then(|i| i.integer(1..=1000)));
    set(&mut limits.timeout, duration(table, "timeout", MS));
    set(&mut limits.retries, table.get("retries").and_then(|i| i.integer(0..=100)));
    set(&mut limits.backoff, duration(table, "backoff", Duration::ZERO));
    set(&mut limits.max_backoff, duration(table, "max_backoff", Duration::ZERO));
    set(&mut limits.jitter, duration(table, "jitter", Duration::ZERO));
    limits
}

fn reconcile(table: &mut Table<'_>, shared: &Shared) -> Option<Reconcile> {
    let mysql = server(table, "mysql", &shared.mysql);
    let redis = server(table, "redis", &shared.redis);
    let query = table
        .require("query", "query = \"SELECT user_id, COUNT(*) FROM ... GROUP BY user_id\"")
        .and_then(|i| {
            // A semicolon ends a statement at a prompt; inside of the wrapped query of R3 it would break it.
            let text = i.filled_text("one SELECT in quotes")?;
            let query = text.trim_end_matches(|c: char| c == ';' || c.is_whitespace()).trim_start();
            if query.is_empty() {
                i.fail(Problem::Empty(i.key.clone()))
            } else {
                Some(query.to_owned())
            }
        });
    let target = table
        .require("target", "target = { zset = \"count:user:arts\" }")
        .and_then(|i| i.table("`target`", "a table, as in { zset = \"count:user:arts\" }"))
        .map(target);
    let mut settle = Duration::from_secs(1);
    set(&mut settle, table.get("settle").and_then(|i| i.duration(MS..=HOUR)));
    let ghosts = match table.get("ghosts").and_then(|i| i.choice(&["remove", "keep"])) {
        Some("keep") => Ghosts::Keep,
        _ => Ghosts::Remove,
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
    let query = query?;
    let (mysql, redis, target) = (mysql?, redis?, target??);
    Some(Reconcile { mysql, redis, query, target, settle, ghosts, guard, redis_share })
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
        Some(Target::Zset { key } | Target::Hash { key }) if key.contains("{id}") => {
            Err(Problem::TargetShape("a zset or a hash without `field` has one key for all ids"))
        }
        Some(Target::HashField { key, .. } | Target::Text { key }) if !key.contains("{id}") => {
            Err(Problem::TargetShape("the key must hold {id}: it differs from id to id"))
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

fn is_job_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

/// Replaces the default where the file gave a good value.
fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}
