//! How metrics are made: registered under one name each, with a child for every value of a closed
//! set of labels.

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// One child for each word of a closed set. The sets are small: a scan beats a hash.
pub(in crate::telemetry) struct Children<K, M>(Vec<(K, M)>);

impl<K: Copy + Eq, M> Children<K, M> {
    pub(in crate::telemetry) fn new(
        words: impl IntoIterator<Item = K>,
        child: impl Fn(K) -> M,
    ) -> Self {
        Self(words.into_iter().map(|word| (word, child(word))).collect())
    }

    /// The child of `word`.
    pub(in crate::telemetry) fn of(&self, word: K) -> &M {
        match self.0.iter().find(|(key, _)| *key == word) {
            Some((_, child)) => child,
            None => unreachable!("every word of the set has its child"),
        }
    }
}

/// Every pair of one of `a` and one of `b`.
pub(super) fn each<A: Copy, B: Copy>(a: &[A], b: &[B]) -> impl Iterator<Item = (A, B)> {
    a.iter().flat_map(move |a| b.iter().map(move |b| (*a, *b)))
}

/// Makes and registers metrics. All names are written in the source: a bad or
/// repeated one is a defect that the first test meets.
pub(super) struct Families(pub(super) Registry);

impl Families {
    fn register<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let collector = made.expect("a well-formed metric");
        self.0.register(Box::new(collector.clone())).expect("a name of its own");
        collector
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::with_opts(Opts::new(name, help)))
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(Histogram::with_opts(opts))
    }

    pub(super) fn histograms(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
        labels: &[&str],
    ) -> HistogramVec {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(HistogramVec::new(opts, labels))
    }
}
