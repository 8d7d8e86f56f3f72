//! The tables of jobs.toml, one function each.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use toml::de::DeTable;
use url::Url;

use super::admin::admin;
use super::job::{Job, Limits, Origin, Server, ServerUrl};
use super::problem::Problem;
use super::reader::{Item, Problems, Table, set};
use super::work::{Servers, reconcile};
use super::{Config, Daemon, Keep, ServerKind, Surroundings, ping, placeholder};
use crate::schedule::{Cron, Interval, Trigger};

const DAY: Duration = Duration::from_secs(86_400);
const YEAR: Duration = Duration::from_secs(366 * 86_400);
const HOUR: Duration = Duration::from_secs(3600);
const MS: Duration = Duration::from_millis(1);

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
    let file = File { text, origin: Origin::File, surroundings, problems: &problems };
    let config = file.read(root);
    let found = problems.into_sorted();
    match config {
        Some(config) if found.is_empty() => Ok(config),
        _ => Err(found),
    }
}

/// Reads one job that is added at run time: `text` is a document with one table, named like the job.
/// The problems come in the order of the text.
pub fn read_one(
    text: &str,
    config: &Config,
    surroundings: &Surroundings<'_>,
) -> Result<Job, Vec<(Range<usize>, Problem)>> {
    let (document, syntax) = DeTable::parse_recoverable(text);
    let problems = Problems::default();
    for error in &syntax {
        problems.add(error.span().unwrap_or(0..0), Problem::Syntax(error.message().to_owned()));
    }
    let file = File { text, origin: Origin::RunTime, surroundings, problems: &problems };
    let shared = Shared {
        zone: config.daemon.timezone,
        limits: config.defaults.clone(),
        mysql: config.mysql.clone(),
        redis: config.redis.clone(),
    };
    let tables = Table::new("the job", 0..0, document.get_ref(), &problems).named();
    let job = tables.first().and_then(|item| file.job(item, &shared));
    let found = problems.into_sorted();
    match job {
        Some(job) if found.is_empty() => Ok(job),
        _ => Err(found),
    }
}

struct File<'a> {
    text: &'a str,
    origin: Origin,
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
        let admin = admin(root.get("admin"), self.surroundings);
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
        let Shared { limits: defaults, mysql, redis, .. } = shared;
        Some(Config { daemon, mysql, redis, admin, defaults, jobs })
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
        let filled = match placeholder::fill(&item.key, template, self.surroundings) {
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
        let work = reconcile(&mut table, &shared.mysql, &shared.redis);
        let ping = ping::read(&mut table, self.surroundings);
        table.finish();
        let (name, zone) = (Arc::from(name), zone?);
        let (origin, trigger, work) = (self.origin, trigger?, work?);
        Some(Job { name, origin, description, trigger, zone, limits, work, ping })
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

fn is_job_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}
