//! The page when something stands between it and the daemon: strange events, lists without samples, and a tab
//! that nobody looks at.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::stage::{Stage, TOKEN, row};
use super::support::world::JOB;

/// Stands between the page and what it fetches: says something of its own in the stream of events, leaves the
/// samples out of lists, counts what is fetched, and lets a minute pass in a moment.
const BETWEEN: &str = "
    const [real, wait] = [window.fetch, window.setTimeout];
    window.asked = [];
    window.streams = [];
    window.setTimeout = (run, ms, ...more) => wait(run, ms === 60000 ? 50 : ms, ...more);
    window.fetch = async (path, options) => {
        window.asked.push(path);
        const answer = await real(path, options);
        if (path === '/v1/events' && answer.ok) {
            window.streams.push(options.signal);
            const body = new ReadableStream({
                async start(out) {
                    window.inject = (event, data) =>
                        out.enqueue(new TextEncoder().encode(`event: ${event}\\ndata: ${JSON.stringify(data)}\\n\\n`));
                    const reader = answer.body.getReader();
                    try {
                        for (;;) {
                            const { value, done } = await reader.read();
                            if (done) break;
                            out.enqueue(value);
                        }
                        out.close();
                    } catch (error) { out.error(error); }
                },
            });
            return new Response(body, { status: answer.status, headers: answer.headers });
        }
        if (!/\\/runs\\?/.test(path) || !answer.ok) return answer;
        const { runs } = await answer.json();
        for (const run of runs) if (run.report) run.report.samples = [];
        return Response.json({ runs });
    };";

impl Stage {
    /// A stage with `BETWEEN` in place. The page loads everything anew once it has its token again.
    fn between(settings: &str) -> Self {
        let stage = Self::open(settings);
        stage.browser.execute(BETWEEN, &[]);
        stage.browser.find("[data-action=forget]").click();
        stage.give(TOKEN);
        stage.browser.wait_for("document.body.dataset.live === 'live' && window.inject");
        stage.shows("");
        stage
    }

    fn streams_open(&self) -> Value {
        self.browser.execute("return window.streams.filter((s) => !s.aborted).length", &[])
    }
}

#[test]
fn a_job_that_cannot_be_drawn_says_so_and_keeps_no_other_from_being_drawn() {
    let stage = Stage::between("");
    // `running` is missing, which nearly everything looks at; the second has a trigger that is no text.
    let hostile = r#"
        window.inject('job', { name: 'a-strange-one', state: 'scheduled' });
        window.inject('job', { name: 'user-articles', running: 7, description: null });"#;
    stage.browser.execute(hostile, &[]);
    stage.browser.wait_for_text("#jobs [data-job=a-strange-one]", "cannot show");
    stage.shows("[data-undrawn]");
    // The real job is told of anew by the real daemon, and drawn.
    stage.break_a_counter();
    stage.click("trigger");
    stage.shows("[data-last=repaired]:not([data-undrawn]) .chip[data-outcome=repaired]");
    stage.browser.wait_for(&format!(
        "!document.querySelector(\"{}\").checkVisibility()",
        row(" [data-part=broken]")
    ));
    stage.click("pause");
    stage.shows("[data-paused] [data-badge=paused]");
    stage.browser.find("[data-count=paused][data-n='1']");
    // Countdowns go on, and so does the view of the strange one.
    let clock = format!("document.querySelector(\"{}\").textContent", row(" [data-ago]"));
    let before = stage.browser.execute(&format!("return {clock}"), &[]);
    stage.browser.wait_for(&format!("{clock} !== {before}"));
    stage.browser.execute("location.hash = '#/jobs/a-strange-one'", &[]);
    stage.browser.wait_for_text("#head [data-part=broken]", "cannot show");
    stage.browser.execute("location.hash = '#/'", &[]);
    stage.browser.execute("window.inject('gone', { name: 'a-strange-one' })", &[]);
    stage.browser.wait_for("!document.querySelector('#jobs [data-job=a-strange-one]')");
    assert_eq!(stage.browser.execute("return document.body.dataset.live", &[]), "live");
    assert_eq!(stage.browser.execute("return window.streams.length", &[]), 1, "the same stream");
    stage.has_no_complaints(&["401", "404"]);
}

#[test]
fn a_tab_that_nobody_looks_at_gives_its_connection_back_and_follows_again_when_it_is_shown() {
    let stage = Stage::between("");
    let look = |hidden: bool| {
        let script = format!(
            "Object.defineProperty(document, 'hidden', {{ value: {hidden}, configurable: true }});
             document.dispatchEvent(new Event('visibilitychange', {{ bubbles: true }}))"
        );
        stage.browser.execute(&script, &[]);
    };
    assert_eq!(stage.streams_open(), 1);
    look(true);
    stage.browser.wait_for("window.streams.every((stream) => stream.aborted)");
    // It does not come back by itself, however long that is.
    thread::sleep(Duration::from_secs(2));
    assert_eq!(stage.streams_open(), 0);
    assert_eq!(stage.browser.execute("return document.title", &[]), "recountd");
    let paused = format!("{}v1/jobs/{JOB}/pause", stage.url);
    let bearer = format!("Bearer {TOKEN}");
    assert!(ureq::post(&paused).header("Authorization", &bearer).send_empty().is_ok());
    look(false);
    stage.shows("[data-paused]");
    stage.browser.wait_for("document.body.dataset.live === 'live'");
    assert_eq!(stage.streams_open(), 1);
    stage.click("resume");
    stage.shows(":not([data-paused])");
    stage.has_no_complaints(&["401"]);
}

#[test]
fn samples_that_the_list_leaves_out_are_asked_for_when_a_report_is_opened() {
    let stage = Stage::between("");
    stage.break_a_counter();
    stage.click("trigger");
    stage.shows("[data-last=repaired]");
    stage.browser.execute(&format!("location.hash = '#/jobs/{JOB}'"), &[]);
    stage.browser.find("#runs tr[data-outcome=repaired]");
    let asked = "return window.asked.filter((path) => path.startsWith('/v1/runs/')).length";
    // The list has come, and replaced what the stream told.
    stage.browser.wait_for("window.asked.some((path) => path.endsWith('limit=100'))");
    stage.browser.wait_for("!document.querySelector('#main.stale')");
    assert_eq!(stage.browser.execute(asked, &[]), 0);
    stage.browser.execute("window.inject('job', null)", &[]);
    stage.browser.wait_for("window.streams.length === 2 && document.body.dataset.live === 'live'");
    stage.browser.find("#runs tr[data-outcome=repaired] [data-action=report]").click();
    stage.browser.find("#runs [data-samples='1']");
    stage.browser.wait_for_text("#runs .samples td:last-child", "-7");
    stage.browser.find("#runs [data-action=report][aria-expanded=true]").click();
    stage.browser.find("#runs [data-action=report][aria-expanded=false]").click();
    stage.browser.find("#runs [data-samples='1']");
    assert_eq!(stage.browser.execute(asked, &[]), 1, "once for each report");
    stage.has_no_complaints(&["401"]);
}
