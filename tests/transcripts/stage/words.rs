//! The words of transcripts for sides, outcomes, faults and connections.

use ftpgate::report::{DataOutcome, TlsFault};
use ftpgate::terms::{FlowId, Side};

pub(super) fn side_of(word: &str) -> Result<Side, String> {
    match word {
        "client" => Ok(Side::Client),
        "server" => Ok(Side::Server),
        other => Err(format!("no side: {other}")),
    }
}

pub(super) fn outcome_of(word: &str) -> Result<DataOutcome, String> {
    let outcome = DataOutcome::ALL.iter().find(|outcome| outcome.label() == word);
    outcome.copied().ok_or_else(|| format!("no outcome: {word}"))
}

pub(super) fn fault_of(word: &str) -> Result<TlsFault, String> {
    let fault = TlsFault::ALL.iter().find(|fault| fault.label() == word);
    fault.copied().ok_or_else(|| format!("no fault: {word}"))
}

pub(super) fn flow_of(word: &str) -> Result<FlowId, String> {
    word.parse().map(FlowId).map_err(|_| format!("no name of a connection: {word}"))
}
