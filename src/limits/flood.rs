//! Which of many like lines are written.

use super::rate::{Bucket, Rate};
use std::time::Instant;

/// Lines of one kind: so many may be written, the others are counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flood {
    written: Bucket,
    left_out: u64,
}

impl Flood {
    /// How many have been left out since the last that was written, if this one is to be.
    pub fn pass(&mut self, rate: Rate, now: Instant) -> Option<u64> {
        if self.written.take(rate, now) {
            return Some(std::mem::take(&mut self.left_out));
        }
        self.left_out = self.left_out.saturating_add(1);
        None
    }

    /// How many have been left out that no line has told of.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_left_out_is_told_with_the_next_line() {
        let mut flood = Flood::default();
        let now = Instant::now();
        let rate = Rate::per_minute(2);
        let passed: Vec<_> = (0..5).map(|_| flood.pass(rate, now)).collect();
        assert_eq!(passed, [Some(0), Some(0), None, None, None]);
        assert_eq!(flood.left_out(), 3);
        assert_eq!(flood.pass(rate, now + Duration::from_secs(30)), Some(3));
        assert_eq!(flood.left_out(), 0);
    }
}
