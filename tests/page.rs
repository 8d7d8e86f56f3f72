//! The page of the control plane, in a real browser against the real daemon.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "page/between.rs"]
mod between;
#[path = "page/shape.rs"]
mod shape;
#[path = "page/stage.rs"]
mod stage;
mod support;

use std::time::Duration;

use stage::{GONE, Stage, TOKEN, row};
use support::browser::{ENTER, PATIENCE, TAB};
use support::eventually;
use support::toutiao::ARTICLES_QUERY;
use support::world::JOB;

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
        "header": 1, "lang": "en", "live": 4});
    assert_eq!(found, wanted);
    stage.has_no_complaints(&["401"]);
}

#[test]
fn a_mistake_in_jobs_toml_is_told_in_lines() {
    let stage = Stage::open("");
    let good = std::fs::read_to_string(stage.world.recountd.jobs_path()).unwrap();
    stage.world.recountd.write_jobs(&format!("{good}\n[jobs.broken]\ncron = \"x\"\n"));
    stage.daemon.as_ref().unwrap().signal("HUP");
    eventually(PATIENCE, "the reload has failed", || {
        let lines = stage.daemon.as_ref().unwrap().stderr.lines();
        lines.iter().any(|line| line.contains("[jobs.broken]") || line.contains("`x`"))
    });
    stage.browser.goto(&stage.url);
    stage.browser.wait_for_text("#notice", "has a mistake");
    let drawn = "return [document.querySelector('#notice').textContent.includes('\\n'),
        getComputedStyle(document.querySelector('#notice')).whiteSpaceCollapse,
        document.querySelector('#notice').innerText.split('\\n').length > 3]";
    assert_eq!(
        stage.browser.execute(drawn, &[]),
        serde_json::json!([true, "preserve-breaks", true])
    );
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
