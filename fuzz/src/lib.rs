//! The fuzz targets' side of the checks that the ordinary test run makes too.
//!
//! `cargo +nightly fuzz run line` and so on; the corpora in `corpus/` are replayed by
//! `tests/corpora.rs`.

#[path = "../../tests/checks/mod.rs"]
pub mod checks;
