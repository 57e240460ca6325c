//! What others have taken away, and what was lost, and how often it was put back: plain counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// How often something was put back since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repairs {
    /// The table, with the pinholes and ranges that were open.
    pub table: u64,
    /// The second table, which keeps running connections translated when the first one goes.
    pub keeper: u64,
    /// What is known of connections through the kernel: news of them were lost.
    pub flows: u64,
}

/// [`Repairs`] as they are counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) table: AtomicU64,
    pub(super) keeper: AtomicU64,
    pub(super) flows: AtomicU64,
}

impl Tally {
    pub(super) fn repairs(&self) -> Repairs {
        let Self { table, keeper, flows } = self;
        let [table, keeper, flows] =
            [table, keeper, flows].map(|count| count.load(Ordering::Relaxed));
        Repairs { table, keeper, flows }
    }
}

/// One more.
pub(super) fn count(times: &AtomicU64) {
    times.fetch_add(1, Ordering::Relaxed);
}
