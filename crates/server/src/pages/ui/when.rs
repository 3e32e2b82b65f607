//! Times: machine-readable, in UTC words for those without a script, in the reader's own way with one.

use std::fmt;

use askama::filters::HtmlSafe;
use latchstring_model::Timestamp;

use crate::texts::T;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

#[derive(Clone)]
pub struct When {
    at: Timestamp,
    /// `data-show`: what a script may put into the reader's way of writing it.
    show: &'static str,
    text: String,
}

/// `2026-11-28T15:04:05.000Z` → (2026, 11, 28, "15:04").
fn parts(at: Timestamp) -> (i64, usize, i64, String) {
    let text = at.to_rfc3339();
    let number = |range: std::ops::Range<usize>| {
        text.get(range).and_then(|part| part.parse::<i64>().ok()).unwrap_or(0)
    };
    let month = usize::try_from(number(5..7)).unwrap_or(1);
    (number(0..4), month, number(8..10), text.get(11..16).unwrap_or_default().to_owned())
}

fn written(t: T, at: Timestamp, form: &crate::texts::Text) -> String {
    let (year, month, day, time) = parts(at);
    let month = t.common.months.0.split(',').nth(month.saturating_sub(1)).unwrap_or_default();
    form.with("day", &day).with("month", month).with("year", &year).with("time", &time).0
}

/// `3 days ago`, `in 2 hours`.
pub fn distance(t: T, at: Timestamp, now: Timestamp) -> String {
    let c = &t.common;
    let apart = at.millis() - now.millis();
    let far = apart.abs();
    let steps = [
        (HOUR, MINUTE, c.minutes_ago, c.in_minutes),
        (DAY, HOUR, c.hours_ago, c.in_hours),
        (60 * DAY, DAY, c.days_ago, c.in_days),
        (730 * DAY, 30 * DAY, c.months_ago, c.in_months),
        (i64::MAX, 365 * DAY, c.years_ago, c.in_years),
    ];
    if far < MINUTE {
        return if apart > 0 { c.soon.0.to_owned() } else { c.just_now.0.to_owned() };
    }
    let step = steps.iter().find(|(below, ..)| far < *below).unwrap_or(&steps[4]);
    t.number(if apart < 0 { &step.2 } else { &step.3 }, far / step.1)
}

impl When {
    /// How long ago, or in how long.
    pub fn near(t: T, at: Timestamp, now: Timestamp) -> Self {
        Self { at, show: "near", text: distance(t, at, now) }
    }

    /// Day and time.
    pub fn moment(t: T, at: Timestamp) -> Self {
        Self { at, show: "moment", text: written(t, at, &t.common.moment) }
    }

    pub fn day(t: T, at: Timestamp) -> Self {
        Self { at, show: "day", text: written(t, at, &t.common.day) }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = crate::texts::Rich::of(&self.text);
        write!(f, "<time datetime=\"{}\" data-show=\"{}\">{text}</time>", self.at.to_rfc3339(), self.show)
    }
}

impl HtmlSafe for When {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::texts::EN;

    #[test]
    fn distances_are_told_in_words() {
        let now = Timestamp(1_764_342_245_000);
        for (secs, text) in [
            (-5, "just now"),
            (20, "in a moment"),
            (-60, "1 minute ago"),
            (-3599, "59 minutes ago"),
            (-3 * 86_400 - 10, "3 days ago"),
            (7200, "in 2 hours"),
            (-90 * 86_400, "3 months ago"),
            (-3 * 365 * 86_400, "3 years ago"),
        ] {
            assert_eq!(distance(&EN, now.plus_secs(secs), now), text);
        }
    }

    #[test]
    fn moments_are_written_out() {
        let at = Timestamp(1_764_342_245_000);
        assert_eq!(When::moment(&EN, at).text, "28 November 2025, 15:04 UTC");
        let html = When::day(&EN, at).to_string();
        assert_eq!(
            html,
            "<time datetime=\"2025-11-28T15:04:05.000Z\" data-show=\"day\">28 November 2025</time>"
        );
    }
}
