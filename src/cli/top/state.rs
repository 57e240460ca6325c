//! What is known of the gateway, in which order it is shown, and what a key does.

use crate::cli::table::total;
use crate::telemetry::snapshot::{SessionSnapshot, Snapshot};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::cmp::Ordering;
use std::collections::HashMap;

/// Sessions by which figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Sort {
    #[default]
    Rate,
    Moved,
    Age,
    Number,
}

impl Sort {
    const ALL: [Self; 4] = [Self::Rate, Self::Moved, Self::Age, Self::Number];

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Moved => "bytes",
            Self::Age => "age",
            Self::Number => "number",
        }
    }

    /// The one `steps` further, around the end.
    fn step(self, steps: usize) -> Self {
        let at = Self::ALL.iter().position(|sort| *sort == self).unwrap_or(0);
        Self::ALL.get((at + steps) % Self::ALL.len()).copied().unwrap_or_default()
    }
}

/// Everything that is shown.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) snapshot: Option<Snapshot>,
    /// Bytes per second since the last look, where that can be told.
    rates: HashMap<u64, f64>,
    pub(super) sort: Sort,
    /// Sessions that are scrolled past.
    pub(super) first: usize,
    /// Why nothing newer is known.
    pub(super) trouble: Option<String>,
}

impl State {
    /// Takes in what the gateway shows, or why it shows nothing.
    pub(super) fn take(&mut self, news: Result<Snapshot, String>) {
        let new = match news {
            Ok(new) => new,
            Err(reason) => {
                self.trouble = Some(reason);
                return;
            }
        };
        self.trouble = None;
        self.rates = match &self.snapshot {
            Some(old) if old.started == new.started => rates(old, &new),
            _ => HashMap::new(),
        };
        self.snapshot = Some(new);
        self.keep_in_sight();
    }

    /// True if the key ends it.
    pub(super) fn press(&mut self, key: KeyEvent) -> bool {
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return true,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return true,
            KeyCode::Left => self.sort = self.sort.step(Sort::ALL.len() - 1),
            KeyCode::Right | KeyCode::Char('s') => self.sort = self.sort.step(1),
            KeyCode::Up => self.first = self.first.saturating_sub(1),
            KeyCode::Down => self.first += 1,
            KeyCode::PageUp => self.first = self.first.saturating_sub(10),
            KeyCode::PageDown => self.first += 10,
            KeyCode::Home => self.first = 0,
            _ => {}
        }
        self.keep_in_sight();
        false
    }

    fn keep_in_sight(&mut self) {
        let count = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.sessions.len());
        self.first = self.first.min(count.saturating_sub(1));
    }

    /// Bytes per second of one session; `None` where the kernel carries what it moves, and at the first
    /// look.
    pub(super) fn rate(&self, session: &SessionSnapshot) -> Option<f64> {
        self.rates.get(&session.id).copied()
    }

    pub(super) fn rate_of_all(&self) -> f64 {
        self.rates.values().sum()
    }

    /// The sessions in the order that is asked for, the first ones scrolled past.
    pub(super) fn sessions(&self) -> Vec<&SessionSnapshot> {
        let mut sessions: Vec<&SessionSnapshot> =
            self.snapshot.iter().flat_map(|snapshot| &snapshot.sessions).collect();
        // The greatest first; those that are equal keep their order, which is that of their numbers.
        let order = |a: &SessionSnapshot, b: &SessionSnapshot| match self.sort {
            Sort::Rate => descending(self.rate(a).unwrap_or(0.0), self.rate(b).unwrap_or(0.0)),
            Sort::Moved => total(b.moved).cmp(&total(a.moved)),
            Sort::Age => descending(a.seconds, b.seconds),
            Sort::Number => a.id.cmp(&b.id),
        };
        sessions.sort_by(|a, b| order(a, b));
        sessions.split_off(self.first.min(sessions.len()))
    }
}

fn descending(a: f64, b: f64) -> Ordering {
    b.total_cmp(&a)
}

/// What each session has moved per second between two looks. Bytes of a data connection that the
/// kernel carries are known at its end, and would look like a burst.
fn rates(old: &Snapshot, new: &Snapshot) -> HashMap<u64, f64> {
    let seconds = new.uptime - old.uptime;
    if seconds <= 0.0 {
        return HashMap::new();
    }
    let in_kernel = |session: &SessionSnapshot| {
        session.transfers.iter().any(|transfer| transfer.moved.is_none())
    };
    let before: HashMap<u64, u64> = old
        .sessions
        .iter()
        .filter(|session| !in_kernel(session))
        .map(|session| (session.id, total(session.moved)))
        .collect();
    let known = new.sessions.iter().filter(|session| !in_kernel(session));
    known
        .filter_map(|session| {
            let moved = total(session.moved).saturating_sub(*before.get(&session.id)?);
            Some((session.id, moved as f64 / seconds))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sessions::tests::snapshot;

    /// The sample, and the same two seconds later with `more` bytes in its first session.
    fn later(more: u64) -> State {
        let mut state = State::default();
        state.take(Ok(snapshot()));
        let mut new = snapshot();
        new.uptime += 2.0;
        new.sessions[0].moved.download += more;
        state.take(Ok(new));
        state
    }

    fn order(state: &State) -> Vec<u64> {
        state.sessions().iter().map(|session| session.id).collect()
    }

    #[test]
    fn rates_are_told_where_they_are_known() {
        let state = later(4096);
        let snapshot = state.snapshot.clone().unwrap();
        let rates: Vec<_> = snapshot.sessions.iter().map(|session| state.rate(session)).collect();
        assert_eq!(rates, [Some(2048.0), None, Some(0.0)], "the kernel carries the second");
        let mut restarted = snapshot;
        restarted.started += 1;
        let mut state = state;
        state.take(Ok(restarted));
        assert_eq!(state.rate_of_all(), 0.0);
    }

    #[test]
    fn keys_sort_and_scroll() {
        let mut state = later(10);
        let press = |state: &mut State, code| state.press(KeyEvent::from(code));
        assert_eq!(order(&state), [3, 12, 14]);
        press(&mut state, KeyCode::Left);
        assert_eq!((state.sort, order(&state)), (Sort::Number, vec![3, 12, 14]));
        press(&mut state, KeyCode::Right);
        press(&mut state, KeyCode::Down);
        assert_eq!(order(&state), [12, 14]);
        press(&mut state, KeyCode::PageDown);
        assert_eq!(order(&state), [14], "the last one stays in sight");
        press(&mut state, KeyCode::Home);
        assert_eq!(order(&state).len(), 3);
        assert!(press(&mut state, KeyCode::Char('q')));
        assert!(state.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)));
    }

    #[test]
    fn a_gateway_that_goes_leaves_what_was_known() {
        let mut state = later(1);
        state.take(Err("no gateway answers".to_owned()));
        assert_eq!(order(&state).len(), 3);
        assert!(state.trouble.is_some());
        state.take(Ok(snapshot()));
        assert!(state.trouble.is_none());
    }
}
