//! What was measured, and how rounds become one figure.

use super::options::Options;

/// One subject under one load for one round.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    pub requests: f64,
    pub seconds: f64,
    /// Milliseconds
    pub p50: f64,
    pub p99: f64,
    /// Seconds of the proxy's processes, while they were asked.
    pub cpu: f64,
    /// And what they still had to do when they were asked no more.
    pub cpu_after: f64,
    /// Seconds until they were quiet.
    pub quiet_after: f64,
    /// Answers that were not 2xx or 3xx, and connections that failed.
    pub errors: f64,
    /// Bytes, afterwards.
    pub resident: f64,
}

impl Sample {
    pub fn rate(&self) -> f64 {
        self.requests / self.seconds
    }

    /// CPU seconds for 10,000 calls, with all that they leave to be done.
    pub fn cpu_per_10k(&self) -> f64 {
        (self.cpu + self.cpu_after) / self.requests * 10_000.0
    }

    pub fn after_per_10k(&self) -> f64 {
        self.cpu_after / self.requests * 10_000.0
    }
}

/// All rounds of one subject under one load.
#[derive(Clone, Debug)]
pub struct Cell {
    pub group: String,
    pub subject: &'static str,
    pub connections: u32,
    pub rounds: Vec<Sample>,
}

impl Cell {
    pub fn median(&self, figure: impl Fn(&Sample) -> f64) -> f64 {
        median(self.rounds.iter().map(figure).collect())
    }

    /// Both were measured in the same round, one after the other: so the ratio is taken there first.
    pub fn ratio(&self, to: &Cell, figure: impl Fn(&Sample) -> f64) -> f64 {
        median(
            self.rounds.iter().zip(&to.rounds).map(|(mine, theirs)| figure(mine) / figure(theirs)).collect(),
        )
    }

    pub fn errors(&self) -> f64 {
        self.rounds.iter().map(|round| round.errors).sum()
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.get(middle.wrapping_sub(1))) {
        (Some(high), Some(low)) if values.len().is_multiple_of(2) => (high + low) / 2.0,
        (Some(value), _) => *value,
        _ => f64::NAN,
    }
}

/// One kind of start: milliseconds until ready, and bytes resident after a while of nothing.
#[derive(Clone, Debug)]
pub struct Start {
    pub what: String,
    pub ready: Vec<f64>,
    pub idle: Vec<f64>,
}

pub struct Results {
    pub cells: Vec<Cell>,
    pub starts: Vec<Start>,
    /// How many credentials were stored through the API, and in how many seconds.
    pub stored: Option<(u32, f64)>,
    /// The size of the large store, as asked for.
    pub many: u32,
    /// The part of the machine's busy time that was not ours, while cells were measured.
    pub foreign: Option<f64>,
}

impl Results {
    pub fn new(options: &Options) -> Self {
        Self { cells: Vec::new(), starts: Vec::new(), stored: None, many: options.credentials, foreign: None }
    }

    pub fn cell(&self, group: &str, subject: &str, connections: u32) -> Option<&Cell> {
        self.cells
            .iter()
            .find(|cell| cell.group == group && cell.subject == subject && cell.connections == connections)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(rates: &[f64]) -> Cell {
        let sample = |rate: &f64| Sample { requests: *rate, seconds: 1.0, cpu: 1.0, ..Sample::default() };
        Cell { group: String::new(), subject: "", connections: 1, rounds: rates.iter().map(sample).collect() }
    }

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(vec![f64::NAN, 2.0]), 2.0);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine was slow in the second round: for both.
        let (ours, theirs) = (cell(&[50.0, 5.0, 60.0]), cell(&[100.0, 10.0, 100.0]));
        assert_eq!(ours.ratio(&theirs, Sample::rate), 0.5);
        assert_eq!(cell(&[20_000.0]).median(Sample::cpu_per_10k), 0.5);
        let later = Sample { requests: 10_000.0, cpu: 1.0, cpu_after: 0.5, ..Sample::default() };
        assert!((later.cpu_per_10k() - 1.5).abs() < 1e-9, "what is left to be done belongs to the calls");
    }
}
