//! One scrape as OpenMetrics text: the names of all series, and what they tell an operator.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType::{self, Counter, Gauge, Histogram, Info};
use prometheus_client::registry::{Registry, Unit};

use super::JobGauges;
use super::series::{Buckets, Counts, LATENESS, RUN};

/// The outcomes that every job shows from 0 on: those that somebody wants to be woken by.
const FROM_ZERO: [&str; 5] = ["failed", "missed", "partial", "refused", "skipped"];

/// The figures of one scrape.
#[derive(Debug)]
pub struct Sheet {
    pub version: String,
    pub started: DateTime<Utc>,
    pub lines: Vec<Line>,
    pub lateness: Buckets<{ LATENESS.len() }>,
    pub queue_depth: u64,
    pub active_runs: u64,
    pub clock_steps: u64,
    pub lost_records: u64,
    pub is_reloaded: bool,
    pub reloaded: Option<DateTime<Utc>>,
}

/// One job in it.
#[derive(Debug)]
pub struct Line {
    pub job: JobGauges,
    pub since_clean: Duration,
    /// What was counted; `None` while there is nothing.
    pub counts: Option<Box<Counts>>,
}

impl Line {
    /// Drifted and unproven of the last run that came to its end.
    fn last(&self) -> Option<(u64, u64)> {
        self.counts.as_ref()?.last
    }
}

impl Sheet {
    /// The whole page, which is about so many bytes long.
    pub fn into_text(self, length: usize) -> String {
        let mut page = String::with_capacity(length);
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        if text::encode(&mut page, &registry).is_err() {
            log::error!("the metrics could not be written; please report it");
        }
        page
    }
}

impl Collector for Sheet {
    fn encode(&self, to: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page { to, lines: &self.lines };
        runs(&mut page)?;
        counters(&mut page)?;
        gauges(&mut page)?;
        self.daemon(&mut page)
    }
}

/// What became of the slots.
fn runs(page: &mut Page<'_, '_>) -> fmt::Result {
    page.each(
        "recountd_slots",
        "Slots by what became of them: clean, repaired, partial, refused, failed, drift (a dry run) ran; \
         coalesced were covered by another slot's run; the others did not run, and recountd runs JOB says why",
        (Counter, None),
        |line, to| {
            let job = &line.job.name;
            let slots = line.counts.as_ref().map_or(&[][..], |counts| counts.slots.as_slice());
            let is_counted = |word: &str| slots.iter().any(|(counted, _)| *counted == word);
            let rest = FROM_ZERO.iter().filter(|word| !is_counted(word)).map(|word| (*word, 0));
            for (outcome, slots) in slots.iter().copied().chain(rest) {
                let labels = [("job", &**job), ("outcome", outcome)];
                to.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, f64>(&slots, None)?;
            }
            Ok(())
        },
    )?;
    page.each(
        "recountd_run",
        "How long runs took, from the start of the first attempt to the end, waits for retries included",
        (Histogram, Some(Unit::Seconds)),
        |line, to| match line.counts.as_ref().and_then(|counts| counts.seconds.as_ref()) {
            Some(seconds) => histogram(&mut to.encode_family(&labels(line))?, seconds, &RUN),
            None => Ok(()),
        },
    )?;
    page.counter(
        "recountd_retries",
        "Attempts that failed and were followed by another",
        |counts| counts.retries,
    )
}

/// What the runs found.
fn counters(page: &mut Page<'_, '_>) -> fmt::Result {
    page.counter(
        "recountd_counters_compared",
        "Counters that runs compared with their truth in MySQL, each time anew",
        |counts| counts.compared,
    )?;
    page.counter(
        "recountd_counters_drifted",
        "Counters that were wrong: the app loses increments, or somebody else writes them",
        |counts| counts.drifted,
    )?;
    page.counter("recountd_counters_repaired", "Drifted counters that were put right", |counts| {
        counts.repaired
    })?;
    page.counter(
        "recountd_counters_unproven",
        "Differences that could not be told from writes in flight, and so were not written",
        |counts| counts.unproven,
    )?;
    page.gauge(
        "recountd_last_run_drifted",
        "Counters that were wrong in the last run that came to its end",
        None,
        |line| line.last().map(|(drifted, _)| Value::Whole(drifted)),
    )?;
    page.gauge(
        "recountd_last_run_unproven",
        "Differences that were left unproven by the last run that came to its end",
        None,
        |line| line.last().map(|(_, unproven)| Value::Whole(unproven)),
    )
}

/// How each job is now.
fn gauges(page: &mut Page<'_, '_>) -> fmt::Result {
    page.gauge(
        "recountd_seconds_since_clean_run",
        "Seconds since a run last ended clean or repaired; while there was none, since the first \
         scrape that named the job",
        None,
        |line| Some(Value::seconds(line.since_clean)),
    )?;
    page.gauge(
        "recountd_job_paused",
        "1 while the job is paused: none of its slots runs until somebody resumes it",
        None,
        |line| Some(Value::flag(line.job.paused)),
    )?;
    page.gauge(
        "recountd_job_overdue",
        "1 while a slot that nobody has dealt with is late by more than the job's period",
        None,
        |line| Some(Value::flag(line.job.overdue)),
    )?;
    page.gauge(
        "recountd_job_next_slot_timestamp",
        "When the next slot is due, in seconds since the epoch; absent after the last",
        Some(Unit::Seconds),
        |line| line.job.next.map(Value::time),
    )?;
    page.gauge(
        "recountd_job_period",
        "How long it is usual for no slot of the job to come; absent for a date",
        Some(Unit::Seconds),
        |line| line.job.period.map(Value::seconds),
    )
}

impl Sheet {
    /// How the daemon is.
    fn daemon(&self, page: &mut Page<'_, '_>) -> fmt::Result {
        page.one(
            "recountd_slot_lateness",
            "How late the first attempts began after their slots: jitter, the queue, the loop",
            (Histogram, Some(Unit::Seconds)),
            |to| histogram(to, &self.lateness, &LATENESS),
        )?;
        for (name, help, value) in [
            (
                "recountd_queue_depth",
                "Runs that wait for a worker; raise workers if it stays up",
                self.queue_depth,
            ),
            (
                "recountd_active_runs",
                "Runs that have begun and not ended, waits for retries included",
                self.active_runs,
            ),
            (
                "recountd_config_reload_successful",
                "1 if the last reload of jobs.toml succeeded; on 0 the last good one stays",
                u64::from(self.is_reloaded),
            ),
        ] {
            page.one(name, help, (Gauge, None), |to| to.encode_gauge(&value))?;
        }
        for (name, help, value) in [
            (
                "recountd_clock_steps",
                "Steps of the wall clock by more than a second; look at chrony or ntpd",
                self.clock_steps,
            ),
            (
                "recountd_state_records_lost",
                "Records that could not be written to the state and are gone; look at its disk",
                self.lost_records,
            ),
        ] {
            page.one(name, help, (Counter, None), |to| {
                to.encode_counter::<NoLabelSet, u64, f64>(&value, None)
            })?;
        }
        for (name, help, at) in [
            (
                "recountd_config_last_reload_success_timestamp",
                "When jobs.toml was last read with success, in seconds since the epoch",
                self.reloaded,
            ),
            (
                "process_start_time",
                "When the daemon started, in seconds since the epoch",
                Some(self.started),
            ),
        ] {
            page.one(name, help, (Gauge, Some(Unit::Seconds)), |to| match at {
                Some(at) => Value::time(at).write(to),
                None => Ok(()),
            })?;
        }
        page.one("recountd_build", "Which recountd this is", (Info, None), |to| {
            to.encode_info(&[("version", self.version.as_str())])
        })
    }
}

/// The page while it is written.
struct Page<'e, 'l> {
    to: DescriptorEncoder<'e>,
    lines: &'l [Line],
}

/// The type of a family, and the unit that its name ends in.
type Kind = (MetricType, Option<Unit>);

impl Page<'_, '_> {
    fn one(
        &mut self,
        name: &str,
        help: &str,
        (kind, unit): Kind,
        write: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        write(&mut self.to.encode_descriptor(name, help, unit.as_ref(), kind)?)
    }

    fn each(
        &mut self,
        name: &str,
        help: &str,
        kind: Kind,
        write: impl Fn(&Line, &mut MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let lines = self.lines;
        self.one(name, help, kind, |to| lines.iter().try_for_each(|line| write(line, to)))
    }

    fn counter(&mut self, name: &str, help: &str, value: fn(&Counts) -> u64) -> fmt::Result {
        self.each(name, help, (Counter, None), |line, to| {
            let value = line.counts.as_deref().map_or(0, value);
            to.encode_family(&labels(line))?.encode_counter::<NoLabelSet, u64, f64>(&value, None)
        })
    }

    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        value: fn(&Line) -> Option<Value>,
    ) -> fmt::Result {
        self.each(name, help, (Gauge, unit), |line, to| match value(line) {
            Some(value) => value.write(&mut to.encode_family(&labels(line))?),
            None => Ok(()),
        })
    }
}

fn labels(line: &Line) -> [(&'static str, &str); 1] {
    [("job", &*line.job.name)]
}

fn histogram<const N: usize>(
    to: &mut MetricEncoder<'_>,
    values: &Buckets<N>,
    bounds: &[f64; N],
) -> fmt::Result {
    let (sum, count, buckets) = values.figures(bounds);
    to.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}

/// The value of a gauge.
#[derive(Debug, Clone, Copy)]
enum Value {
    Whole(u64),
    Seconds(f64),
}

impl Value {
    fn flag(is_set: bool) -> Self {
        Self::Whole(u64::from(is_set))
    }

    fn seconds(length: Duration) -> Self {
        Self::Seconds(length.as_secs_f64())
    }

    #[expect(clippy::cast_precision_loss, reason = "milliseconds since the epoch fit for ages")]
    fn time(at: DateTime<Utc>) -> Self {
        Self::Seconds(at.timestamp_millis() as f64 / 1000.0)
    }

    fn write(self, to: &mut MetricEncoder<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => to.encode_gauge(&value),
            Self::Seconds(value) => to.encode_gauge(&value),
        }
    }
}
