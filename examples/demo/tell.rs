//! What the demo prints.

use std::time::Duration;

use crate::stage::{LOSS, RATE};
use crate::support::Figures;
use crate::support::toutiao::Wrong;

/// Wrong counters that are shown, of each way to be wrong.
const EXAMPLES: usize = 2;

/// Lines of recountd's log that are shown when it ended on its own.
const LAST_WORDS: usize = 10;

pub fn opening(length: Duration) {
    println!("recountd demo: {} s of an app whose counters drift\n", length.as_secs());
    println!("The stage");
}

/// A line of the stage.
pub fn item(name: &str, text: &str) {
    println!("  {name:<9}{text}");
}

pub fn before(wrong: &[Wrong]) {
    println!("\nBefore: {} counters are wrong, such as", number(wrong.len() as u64));
    println!("  {:<18}{:>8}{:>8}", "", "MySQL", "Redis");
    let ghost = |one: &&Wrong| one.mysql == 0;
    let missing = |one: &&Wrong| one.redis.is_none();
    let changed = |one: &&Wrong| !ghost(one) && !missing(one);
    examples(wrong.iter().filter(changed), "");
    examples(wrong.iter().filter(missing), "missing");
    examples(wrong.iter().filter(ghost), "made up");
}

fn examples<'a>(wrong: impl Iterator<Item = &'a Wrong>, how: &str) {
    for Wrong { id, mysql, redis } in wrong.take(EXAMPLES) {
        let mysql = if *mysql == 0 { "-".to_owned() } else { mysql.to_string() };
        let redis = redis.map_or("-".to_owned(), |value| value.to_string());
        let line = format!("  {:<18}{mysql:>8}{redis:>8}  {how}", format!("user {id}"));
        println!("{}", line.trim_end());
    }
}

pub fn action() {
    println!("\nNow the app publishes {RATE} articles a second and loses {}% of the", LOSS * 100.0);
    println!("increments, and recountd runs every 5 s, while the app keeps writing");
}

/// Something that happened.
pub fn moment(since: Duration, text: &str) {
    println!("  {:>2}:{:02}  {text}", since.as_secs() / 60, since.as_secs() % 60);
}

/// More about what happened.
pub fn aside(text: &str) {
    println!("         {text}");
}

pub fn ending() {
    println!("\nThe app stops; recountd finishes");
}

pub fn verdict(figures: &Figures, wrong_before: usize, wrong_now: &[Wrong]) {
    println!("\nVerdict: every counter in Redis compared with MySQL");
    for (what, count) in [
        ("articles the app changed", figures.total.writes),
        ("increments it lost", figures.total.lost),
        ("counters wrong before", wrong_before as u64),
        ("counters wrong now", wrong_now.len() as u64),
    ] {
        println!("  {what:<26}{:>8}", number(count));
    }
    if wrong_now.is_empty() {
        println!("Every counter is true.");
    } else {
        examples(wrong_now.iter(), "still wrong");
    }
}

/// recountd should not have ended, or not like this.
pub fn died(log: &[String]) {
    println!("\nrecountd ended on its own or not well; the end of its log:");
    for line in log.iter().skip(log.len().saturating_sub(LAST_WORDS)) {
        println!("  {line}");
    }
}

/// A number with its thousands apart.
pub fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
