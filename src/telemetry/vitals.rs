//! Figures that other parts count by themselves, and are asked for at each scrape.

use std::sync::Arc;

/// What is put back when it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// The firewall's table, with the pinholes that are awaited.
    Table,
    /// The second table, which keeps running connections translated when the first one goes.
    Keeper,
    /// What is known of the connections that the kernel carries.
    Flows,
}

impl Repair {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Table, Self::Keeper, Self::Flows];

    /// The word in labels.
    pub fn label(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Keeper => "keeper",
            Self::Flows => "flows",
        }
    }
}

/// Such figures, as they are now.
#[derive(Debug, Clone, Copy, Default)]
pub struct Vitals {
    /// Tasks that carry sessions and data connections.
    pub tasks: usize,
    /// How often each was put back since the start, in the order of [`Repair::ALL`].
    pub repairs: [u64; 3],
}

/// Reads them.
pub type VitalSigns = Arc<dyn Fn() -> Vitals + Send + Sync>;
