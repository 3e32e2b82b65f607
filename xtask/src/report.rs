//! The closing summary: every step with its time, then one plain line with the counts.

use std::time::{Duration, Instant};

use crate::Done;
use crate::run::Counts;

struct Step {
    name: String,
    took: Duration,
    counts: Option<Counts>,
    done: Done,
}

#[derive(Default)]
pub struct Report {
    steps: Vec<Step>,
}

impl Report {
    /// A check that passes or fails as a whole.
    pub fn check(&mut self, name: &str, work: impl FnOnce() -> Done) {
        self.counted(name, || (None, work()));
    }

    /// A step that counted tests.
    pub fn tests(&mut self, name: &str, work: impl FnOnce() -> (Counts, Done)) {
        self.counted(name, || {
            let (counts, done) = work();
            (Some(counts), done)
        });
    }

    fn counted(&mut self, name: &str, work: impl FnOnce() -> (Option<Counts>, Done)) {
        println!("\n=== {name}");
        let start = Instant::now();
        let (counts, done) = work();
        if let Err(why) = &done {
            eprintln!("{why}");
        }
        self.steps.push(Step { name: name.to_owned(), took: start.elapsed(), counts, done });
    }

    pub fn failed(&self) -> bool {
        self.steps.iter().any(|step| step.done.is_err())
    }

    /// A check counts as one; a run of tests as its tests, and as one failure if it failed without counting any.
    fn total(&self) -> Counts {
        let mut total = Counts::default();
        for step in &self.steps {
            let mut counts = step.counts.unwrap_or_default();
            if step.counts.is_none() && step.done.is_ok() {
                counts.passed = 1;
            }
            if step.done.is_err() && counts.failed == 0 {
                counts.failed = 1;
            }
            total.add(counts);
        }
        total
    }

    fn text(&self) -> String {
        let mut text = String::from("\n=== summary\n");
        for step in &self.steps {
            let word = if step.done.is_ok() { "ok    " } else { "FAILED" };
            let counts = match step.counts {
                Some(c) => format!("  {} passed, {} failed", c.passed, c.failed),
                None => String::new(),
            };
            text.push_str(&format!("{word} {:20} {:7.1} s{counts}\n", step.name, step.took.as_secs_f64()));
        }
        for step in &self.steps {
            if let Err(why) = &step.done {
                text.push_str(&format!("\n{}: {why}\n", step.name));
            }
        }
        let total = self.total();
        text.push_str(&format!("\n{} passed, {} failed", total.passed, total.failed));
        text
    }

    pub fn close(self) -> Done {
        println!("{}", self.text());
        if self.failed() { Err("not everything passed".to_owned()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_failed_is_counted_even_without_a_test() {
        let mut report = Report::default();
        report.check("fmt", || Ok(()));
        report.tests("tests", || (Counts { passed: 5, failed: 0 }, Ok(())));
        report.tests("does not compile", || (Counts::default(), Err("no".to_owned())));
        assert_eq!(report.total(), Counts { passed: 6, failed: 1 });
        assert!(report.failed());
        assert!(report.text().ends_with("\n6 passed, 1 failed"));
        assert!(report.close().is_err());
    }
}
