//! How the page looks: on a phone, at twice the size, by day and by night.

use serde_json::Value;

use super::stage::Stage;
use super::support::world::JOB;

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

/// What is wider than the page, or cut off at a side, where nothing says so with an ellipsis.
const TOO_WIDE: &str = "
    const page = document.documentElement;
    const cut = [...document.querySelectorAll('body *')].filter((e) => {
        if (!e.checkVisibility() || e.closest('.vh, .skip, .clamp, svg, option')) return false;
        const box = e.getBoundingClientRect();
        const hides = !['visible', 'auto', 'scroll'].includes(getComputedStyle(e).overflowX) && e.scrollWidth > e.clientWidth;
        return box.right > page.clientWidth + 0.5 || box.left < -0.5 || hides;
    });
    const covered = [...document.querySelectorAll('button, select, input')].filter((e) => {
        if (!e.checkVisibility()) return false;
        e.scrollIntoView({ block: 'center' });
        const box = e.getBoundingClientRect();
        const there = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
        return !e.contains(there) || e.scrollWidth > e.clientWidth;
    });
    return [page.scrollWidth - page.clientWidth, ...[...cut, ...covered].map((e) => e.outerHTML.slice(0, 200))];";

#[test]
fn at_twice_the_size_nothing_is_cut_off_and_nothing_needs_scrolling_to_the_side() {
    let stage = Stage::open("");
    stage.break_a_counter();
    stage.click("trigger");
    stage.shows("[data-last=repaired]");
    stage.click("pause");
    stage.shows("[data-paused]");
    // Windows of 1280, 1440 and 1920 pixels at 200 %, and one at 100 % where the list becomes narrow.
    for (width, height) in [(640, 512), (720, 450), (960, 540), (1240, 700)] {
        stage.browser.execute(&format!("location.hash = '#/jobs/{JOB}'"), &[]);
        stage.browser.resize(width, height);
        stage.browser.wait_for(&format!("innerWidth === {width}"));
        stage.browser.wait_for("document.querySelector('#detail').checkVisibility()");
        stage.browser.find("#runs tr[data-outcome=repaired]");
        if stage.browser.all("#runs [data-samples]").is_empty() {
            stage.browser.find("#runs tr[data-outcome=repaired] [data-action=report]").click();
        }
        stage.browser.find("#runs [data-samples='1']");
        let found = stage.browser.execute(TOO_WIDE, &[]);
        assert_eq!(found, serde_json::json!([0]), "the job at {width} pixels");
        stage.browser.execute("location.hash = '#/'", &[]);
        stage.browser.wait_for("document.querySelector('#list').checkVisibility()");
        stage.shows(" .mark");
        let found = stage.browser.execute(TOO_WIDE, &[]);
        assert_eq!(found, serde_json::json!([0]), "the list at {width} pixels");
    }
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
