//! The page of the control plane, in a real browser against the real daemon.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use support::browser::{Browser, ENTER, PATIENCE, TAB};
use support::guardian::free_port;
use support::toutiao::ARTICLES_QUERY;
use support::world::{JOB, World, articles_job};
use support::{Daemon, eventually};

const TOKEN: &str = "a-token-of-32-characters-or-more";

/// What a daemon that is killed leaves in the console of a page that follows it.
const GONE: [&str; 2] = ["net::ERR_", "401"];

/// A world with a control plane, its daemon, and a browser.
struct Stage {
    daemon: Option<Daemon>,
    world: World,
    url: String,
    browser: Browser,
}

impl Stage {
    fn new(settings: &str) -> Self {
        // The browser first: a test that waits for its turn shall not keep servers busy.
        let browser = Browser::start();
        let mut world = World::new(50, 2_000, "");
        let address = format!("127.0.0.1:{}", free_port());
        let admin = format!("listen = [\"{address}\"]\ntoken = \"${{RECOUNTD_TOKEN}}\"\n");
        world.write_jobs(&format!("[admin]\n{admin}\n{}", articles_job(settings)));
        world.recountd = world.recountd.env("RECOUNTD_TOKEN", TOKEN);
        let mut stage = Self { daemon: None, world, url: format!("http://{address}/"), browser };
        stage.start_daemon();
        stage
    }

    /// A stage on which the page has its token and shows the jobs.
    fn open(settings: &str) -> Self {
        let stage = Self::new(settings);
        stage.browser.goto(&stage.url);
        stage.give(TOKEN);
        stage.browser.find(&row(""));
        stage
    }

    fn start_daemon(&mut self) {
        self.daemon = Some(self.world.recountd.spawn_run());
        let ready = format!("{}readyz", self.url);
        eventually(PATIENCE, "the daemon is ready", || ureq::get(&ready).call().is_ok());
    }

    #[track_caller]
    fn give(&self, token: &str) {
        self.browser.wait_for("!document.querySelector('[data-form=token]').hidden");
        self.browser.find("#token").type_in(token);
        self.browser.find("[data-action=token]").click();
    }

    #[track_caller]
    fn click(&self, action: &str) {
        self.browser.find(&row(&format!(" [data-action={action}]"))).click();
    }

    /// Waits until an element of the job's row is there.
    #[track_caller]
    fn shows(&self, rest: &str) {
        self.browser.find(&row(rest));
    }

    /// A counter that is wrong, so that a run has something to repair.
    fn break_a_counter(&self) {
        let held = self.world.counter("1").expect("the first user has articles");
        self.world.set_counter("1", held + 7.0);
    }

    #[track_caller]
    fn has_no_complaints(&self, expected: &[&str]) {
        let complaints = self.browser.complaints(expected);
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
}

impl Drop for Stage {
    /// A test that fails leaves a picture of what the reader saw.
    fn drop(&mut self) {
        if thread::panicking() {
            let name = thread::current().name().unwrap_or("page").replace("::", "-");
            let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.png"));
            // The browser may be what failed; a second panic must not hide the first.
            let shoot = || self.browser.screenshot(&file);
            if catch_unwind(AssertUnwindSafe(shoot)).is_ok() {
                println!("a picture of it: {}", file.display());
            }
        }
    }
}

/// The row of the job, and what is in it.
fn row(rest: &str) -> String {
    format!("#jobs [data-job='{JOB}']{rest}")
}

#[test]
fn it_asks_for_the_token_says_when_it_is_wrong_and_then_lists_the_jobs() {
    let stage = Stage::new("");
    stage.browser.goto(&stage.url);
    stage.give("something-else-of-32-characters-");
    stage.browser.wait_for_text("#refused", "does not take this token");
    assert!(stage.browser.all(&row("")).is_empty());
    stage.give(TOKEN);
    stage.browser.wait_for_text(&row(" h2"), JOB);
    stage.browser.wait_for_text("[data-live=live] .live", "Live");
    stage.browser.wait_for_text(&row(" [data-countdown]"), "in ");
    assert!(stage.browser.find("[data-version]").text().contains(env!("CARGO_PKG_VERSION")));
    stage.has_no_complaints(&["401"]);
}

#[test]
fn the_token_is_kept_for_the_tab_and_can_be_forgotten() {
    let stage = Stage::open("");
    stage.browser.goto(&stage.url);
    stage.shows("");
    let kept =
        "return [Object.values(sessionStorage), Object.values(localStorage), document.cookie]";
    assert_eq!(stage.browser.execute(kept, &[]), serde_json::json!([[TOKEN], [], ""]));
    stage.browser.find("[data-action=forget]").click();
    stage.browser.wait_for("!document.querySelector('[data-form=token]').hidden");
    assert!(stage.browser.all(&row("")).is_empty());
    assert_eq!(stage.browser.execute(kept, &[]), serde_json::json!([[], [], ""]));
    stage.has_no_complaints(&["401"]);
}

#[test]
fn the_outcome_of_a_triggered_run_arrives_without_a_reload() {
    let stage = Stage::open("");
    stage.break_a_counter();
    stage.browser.execute("window.sameDocument = true", &[]);
    stage.click("trigger");
    stage.shows("[data-last=repaired] .chip[data-outcome=repaired]");
    stage.shows(" .mark[data-outcome=repaired][aria-label*='repaired']");
    stage.browser.wait_for(
        "document.querySelector('[data-announce]').textContent.includes('ended, repaired')",
    );
    assert_eq!(stage.browser.execute("return window.sameDocument", &[]), true);
    assert!(stage.world.wrong().is_empty());
    stage.has_no_complaints(&["401"]);
}

#[test]
fn a_dry_run_shows_the_drift_and_leaves_it() {
    let stage = Stage::open("");
    stage.break_a_counter();
    stage.click("dry-run");
    stage.shows("[data-last=drift] .chip[data-outcome=drift][data-dry]");
    stage.shows(" svg[data-plot]");
    assert_eq!(stage.world.wrong().len(), 1);
    stage.has_no_complaints(&["401"]);
}

#[test]
fn the_detail_of_a_job_holds_its_definition_its_runs_and_their_samples() {
    let stage = Stage::open("");
    stage.break_a_counter();
    stage.click("trigger");
    stage.shows("[data-last=repaired]");
    stage.browser.find(&row(" h2 a")).click();
    stage.browser.wait_for_text("#detail-name", JOB);
    stage.browser.wait_for_text("[data-part=definition] [data-key=query]", "SELECT");
    stage.browser.find("#runs tr[data-outcome=repaired] [data-action=report]").click();
    stage.browser.find("#runs [data-samples='1']");
    stage.browser.wait_for_text("#runs .samples td:last-child", "-7");
    stage.browser.find("#detail .back").click();
    stage.browser.wait_for("document.activeElement.textContent === 'user-articles'");
    stage.has_no_complaints(&["401"]);
}

#[test]
fn a_pause_is_shown_on_every_page() {
    let stage = Stage::open("");
    let (first, second) = stage.browser.open_window();
    stage.browser.goto(&stage.url);
    // What a tab was told, another is not.
    stage.give(TOKEN);
    stage.shows(":not([data-paused])");
    stage.browser.to_window(&first);
    stage.click("pause");
    for window in [&first, &second] {
        stage.browser.to_window(window);
        stage.shows("[data-paused] [data-badge=paused]");
        stage.browser.wait_for_text(&row(" [data-action=resume]"), "Resume");
        stage.browser.find("[data-count=paused][data-n='1']");
    }
    stage.click("resume");
    for window in [&second, &first] {
        stage.browser.to_window(window);
        stage.shows(":not([data-paused]) [data-action=pause]");
    }
    stage.has_no_complaints(&["401"]);
}

#[test]
fn a_daemon_that_goes_away_is_told_and_comes_back_without_a_reload() {
    let mut stage = Stage::open("");
    stage.browser.execute("window.sameDocument = true", &[]);
    let mut daemon = stage.daemon.take().unwrap();
    daemon.signal("KILL");
    daemon.wait_exit(PATIENCE);
    stage.browser.wait_for_text("[data-banner]", "Connection lost, trying again…");
    stage.browser.find("[data-live=lost] main[data-stale]");
    stage.browser.wait_for_text(&row(" h2"), JOB);
    // An order says in place that it did not arrive.
    stage.click("trigger");
    stage.shows(" [data-problem=unreachable]");
    stage.start_daemon();
    stage.browser.find("[data-live=live] main:not([data-stale])");
    stage.browser.wait_for("document.querySelector('[data-banner]').textContent === ''");
    // It follows the events of the new daemon.
    stage.break_a_counter();
    stage.click("trigger");
    stage.shows("[data-last=repaired]:not(:has([data-problem]))");
    assert_eq!(stage.browser.execute("return window.sameDocument", &[]), true);
    stage.has_no_complaints(&GONE);
}

#[test]
fn a_conflict_is_shown_in_place_and_can_be_dismissed() {
    // The run watches the wrong counter for two settles, in which the second trigger comes.
    let stage = Stage::open("settle = \"15s\"");
    stage.break_a_counter();
    stage.click("trigger");
    stage.shows("[data-state=running]");
    stage.click("trigger");
    stage.shows(" [data-problem=active]");
    stage.browser.wait_for_text(&row(" [data-problem]"), "active");
    stage.click("dismiss");
    stage.shows(":not(:has([data-problem]))");
    stage.has_no_complaints(&["401", "409"]);
}

#[test]
fn a_job_of_run_time_comes_and_goes_and_what_it_is_called_is_only_text() {
    let stage = Stage::open("");
    let markup = "<img src=x onerror=alert(1)> & <b>bold</b>";
    let job = serde_json::json!({
        "name": "added", "description": markup, "interval": "1h",
        "query": ARTICLES_QUERY, "target": {"zset": "count:added"},
    });
    let bearer = format!("Bearer {TOKEN}");
    let jobs = format!("{}v1/jobs", stage.url);
    let added = ureq::post(&jobs).header("Authorization", &bearer).send_json(&job);
    assert_eq!(added.expect("the job is valid").status(), 201);
    stage.browser.wait_for_text("#jobs [data-job=added]", markup);
    stage.browser.find("#filter").type_in("adde");
    stage.browser.wait_for(&format!("!document.querySelector(\"{}\").checkVisibility()", row("")));
    stage.browser.find("#jobs [data-job=added] h2 a").click();
    let remove = "#head[data-job=added] [data-action=remove]";
    stage.browser.find(remove).click();
    stage.browser.find("dialog[open] [data-action=keep]").click();
    stage.browser.find(remove).click();
    stage.browser.find("dialog[open] [data-action=confirm-remove]").click();
    stage.browser.wait_for("!document.querySelector('#jobs [data-job=added]')");
    stage.browser.wait_for("document.querySelector('#list').checkVisibility()");
    // What is in jobs.toml has no such button.
    stage.browser.execute(&format!("location.hash = '#/jobs/{JOB}'"), &[]);
    stage.browser.wait_for_text("#detail-name", JOB);
    stage.browser.find(&format!("#head[data-job={JOB}] [data-action=remove][hidden]"));
    stage.has_no_complaints(&["401"]);
}

#[test]
fn a_phone_needs_no_scrolling_to_the_side_and_has_room_for_fingers() {
    let stage = Stage::open("");
    stage.break_a_counter();
    stage.click("trigger");
    stage.shows("[data-last=repaired]");
    for width in [390, 320] {
        stage.browser.resize(width, 844);
        stage.browser.wait_for(&format!("innerWidth === {width}"));
        for address in ["#/".to_owned(), format!("#/jobs/{JOB}")] {
            let go = format!("location.hash = {}", Value::from(address));
            stage.browser.execute(&go, &[]);
            stage.browser.wait_for(
                "document.querySelector(location.hash === '#/' ? '#list' : '#detail').checkVisibility()",
            );
            let wide =
                "const page = document.documentElement; return page.scrollWidth - page.clientWidth";
            assert_eq!(stage.browser.execute(wide, &[]), 0, "{width} pixels");
            let small = stage.browser.execute(
                "return [...document.querySelectorAll('button, select, input, summary')]
                    .filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 44)
                    .map((e) => e.outerHTML)",
                &[],
            );
            assert_eq!(small, serde_json::json!([]), "{width} pixels");
        }
    }
    stage.has_no_complaints(&["401"]);
}

#[test]
fn the_keyboard_alone_can_trigger_and_its_focus_is_seen() {
    let stage = Stage::new("");
    stage.browser.goto(&stage.url);
    stage.browser.wait_for("document.activeElement.id === 'token'");
    for key in TOKEN.chars() {
        stage.browser.press(&key.to_string());
    }
    stage.browser.press(ENTER);
    stage.shows("");
    stage.break_a_counter();
    let at = "return document.activeElement.closest('[data-job]') && \
              document.activeElement.dataset.action";
    let mut stops = 0;
    while stage.browser.execute(at, &[]) != "trigger" {
        stops += 1;
        assert!(stops < 40, "the Tab key does not come to the button");
        stage.browser.press(TAB);
        let outline = "return getComputedStyle(document.activeElement).outlineStyle";
        assert_ne!(stage.browser.execute(outline, &[]), "none", "stop {stops}");
    }
    stage.browser.press(ENTER);
    stage.shows("[data-last=repaired]");
    // The focus stays where it was, on a row that was drawn anew.
    assert_eq!(stage.browser.execute(at, &[]), "trigger");
    stage.has_no_complaints(&["401"]);
}

#[test]
fn whoever_does_not_see_the_page_is_told_what_is_on_it() {
    let stage = Stage::open("");
    stage.break_a_counter();
    stage.click("dry-run");
    stage.shows("[data-last=drift]");
    stage.shows(" .mark");
    let unnamed = "
        const label = (e) => e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.[0]?.textContent.trim();
        const nameless = [...document.querySelectorAll('button, a, input, select, [role=img], [role=group]')]
            .filter((e) => e.checkVisibility() && !label(e)).map((e) => e.outerHTML);
        const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
        const outside = [...document.body.children].filter((e) => e.checkVisibility() && e.textContent.trim()
            && !e.matches('header, main, [role=status], [role=tooltip], .skip, script, template, dialog'));
        return {
            nameless, outside: outside.map((e) => e.outerHTML), twice: ids.filter((id, i) => ids.indexOf(id) !== i),
            h1: document.querySelectorAll('h1').length, main: document.querySelectorAll('main').length,
            header: document.querySelectorAll('body > header').length, lang: document.documentElement.lang,
            live: document.querySelectorAll('[role=status]').length,
        }";
    let found = stage.browser.execute(unnamed, &[]);
    let wanted = serde_json::json!({"nameless": [], "outside": [], "twice": [], "h1": 1, "main": 1,
        "header": 1, "lang": "en", "live": 2});
    assert_eq!(found, wanted);
    stage.has_no_complaints(&["401"]);
}

/// Every text that is shown, with the contrast to what is behind it, where that is less than WCAG's AA asks for.
const PALE: &str = "
    const channel = (c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
    const parse = (text) => text.match(/[0-9.]+/g).map(Number);
    const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
    const behind = (e) => {
        for (; e; e = e.parentElement) {
            const color = parse(getComputedStyle(e).backgroundColor);
            if (color.length === 3 || color[3] === 1) return color;
        }
        return [255, 255, 255];
    };
    const pale = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    let seen = 0;
    while (texts.nextNode()) {
        const e = texts.currentNode.parentElement;
        if (!texts.currentNode.data.trim() || !e.checkVisibility() || e.closest('script, style, .vh')) continue;
        seen += 1;
        const style = getComputedStyle(e);
        const [a, b] = [light(parse(style.color)), light(behind(e))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (contrast < 4.5) pale.push(`${contrast.toFixed(2)} ${e.outerHTML}`);
    }
    return seen > 20 ? pale : ['there is too little text'];";

#[test]
fn every_text_stands_out_from_what_is_behind_it_by_day_and_by_night() {
    let stage = Stage::open("");
    stage.break_a_counter();
    stage.click("trigger");
    stage.shows("[data-last=repaired]");
    stage.click("pause");
    stage.shows("[data-paused]");
    stage.browser.find("summary").click();
    let mut backgrounds = Vec::new();
    for scheme in ["light", "dark"] {
        stage.browser.prefer(&[("prefers-color-scheme", scheme)]);
        stage.browser.wait_for(&format!("matchMedia('(prefers-color-scheme: {scheme})').matches"));
        assert_eq!(stage.browser.execute(PALE, &[]), serde_json::json!([]), "{scheme}");
        let background = "return getComputedStyle(document.body).backgroundColor";
        backgrounds.push(stage.browser.execute(background, &[]));
    }
    assert_ne!(backgrounds[0], backgrounds[1]);
    stage.has_no_complaints(&["401"]);
}

#[test]
fn nothing_runs_on_the_page_but_its_own_script() {
    let stage = Stage::open("");
    stage.has_no_complaints(&["401"]);
    let inject = "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = true\">');
        document.body.setAttribute('style', 'opacity: 0.5');
        document.head.append(Object.assign(document.createElement('script'), { textContent: 'window.ran = true' }))";
    stage.browser.execute(inject, &[]);
    eventually(Duration::from_secs(20), "the browser tells what it stopped", || {
        stage.browser.complaints(&[]).iter().any(|line| line.contains("Content Security Policy"))
    });
    let opacity = "return [getComputedStyle(document.body).opacity, window.ran ?? null]";
    assert_eq!(stage.browser.execute(opacity, &[]), serde_json::json!(["1", null]));
}
