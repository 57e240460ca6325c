//! How `ftpgate observe` shows what it sees: a table that is drawn again on a terminal, plain lines
//! elsewhere, or JSON Lines.

use crate::observe::record::{Control, Summary};
use crate::observe::{Observer, Row};
use rustix::termios::tcgetwinsize;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// The table is drawn twice a second at the most: faster than that nobody reads.
const REDRAW: Duration = Duration::from_millis(500);

/// Lines and columns of a terminal that does not say how many it has.
const SIZE: (usize, usize) = (24, 80);

/// Rows of rewrites, openings and transfers that are shown of one control connection. `--json` has more.
const MAX_SHOWN: usize = 5;

/// An object of `--json`, by the word in `event`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Told<'a> {
    Control(&'a Control),
    Summary(&'a Summary),
}

/// Shows what is seen.
pub(super) struct Show {
    json: bool,
    table: bool,
    drawn: Option<Instant>,
    /// Lines of the table that stands on the terminal.
    lines: usize,
    over: u64,
}

impl Show {
    pub(super) fn new(json: bool, live: bool) -> Self {
        let table = live && !json && io::stdout().is_terminal();
        Self { json, table, drawn: None, lines: 0, over: 0 }
    }

    /// A control connection is over.
    pub(super) fn control(&mut self, control: &Control) -> io::Result<()> {
        self.over += 1;
        if self.json {
            return self.line(&serde_json::to_string(&Told::Control(control))?);
        }
        let text = describe(control);
        self.erase()?;
        self.line(text.trim_end())
    }

    /// The end.
    pub(super) fn summary(&mut self, summary: &Summary) -> io::Result<()> {
        if self.json {
            return self.line(&serde_json::to_string(&Told::Summary(summary))?);
        }
        self.erase()?;
        self.line(summarize(summary).trim_end())
    }

    /// Draws the table of those that run, if it is time.
    pub(super) fn draw(&mut self, observer: &Observer) -> io::Result<()> {
        let now = Instant::now();
        if !self.table || self.drawn.is_some_and(|drawn| now < drawn + REDRAW) {
            return Ok(());
        }
        self.drawn = Some(now);
        let (height, width) = tcgetwinsize(io::stdout())
            .map_or(SIZE, |size| (size.ws_row.max(4).into(), size.ws_col.max(20).into()));
        let rows = observer.rows();
        let room = height - 3;
        self.erase()?;
        let mut text = format!("{} running, {} over\n", rows.len(), self.over);
        for row in std::iter::once(&Row::head()).chain(rows.iter().rev().take(room)) {
            let line: String = row.to_string().chars().take(width).collect();
            text.push_str(line.trim_end());
            text.push('\n');
        }
        self.lines = text.lines().count();
        self.write(&text)
    }

    /// Takes the table away; what comes next stands in its place.
    fn erase(&mut self) -> io::Result<()> {
        let lines = std::mem::take(&mut self.lines);
        if lines == 0 {
            return Ok(());
        }
        // Up, and everything below is gone (ECMA-48: CUU, ED).
        self.write(&format!("\x1b[{lines}A\x1b[J"))
    }

    fn line(&self, text: &str) -> io::Result<()> {
        self.write(&format!("{text}\n"))
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

/// A control connection in some lines.
fn describe(control: &Control) -> String {
    let mut text = String::new();
    let mut add = |line: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{line}");
    };
    let user = control.user.as_ref().map(|user| format!(", user {user}")).unwrap_or_default();
    let ccc = control.ccc.map(|ccc| format!(", ccc {ccc}")).unwrap_or_default();
    let close = control.close.map(|close| format!(", {close}")).unwrap_or_default();
    add(format!(
        "{} -> {}{user}, control {}{ccc}, {:.1} s{close}",
        control.client, control.server, control.protection, control.seconds
    ));
    if control.transfers_total > 0 {
        add(format!(
            "    data      {}; {} B up, {} B down",
            counts(&control.outcomes),
            control.upload,
            control.download
        ));
    }
    let more = |total: u64, shown: usize| {
        let left = total.saturating_sub(u64::try_from(shown).unwrap_or(u64::MAX));
        (left > 0).then(|| format!("    …         {left} more"))
    };
    let shown = control.rewrites.iter().take(MAX_SHOWN);
    let mut count = 0;
    for rewrite in shown {
        count += 1;
        add(format!("    rewrite   {} -> {}", rewrite.from, rewrite.to));
    }
    if let Some(more) = more(control.rewrites_total, count) {
        add(more);
    }
    count = 0;
    for opening in control.openings.iter().take(MAX_SHOWN) {
        count += 1;
        add(format!("    open      {} -> {} ({})", opening.peer, opening.entry, opening.mode));
    }
    if let Some(more) = more(control.openings_total, count) {
        add(more);
    }
    for found in &control.findings {
        let detail = found.detail.as_ref().map(|detail| format!(" [{detail}]")).unwrap_or_default();
        let times =
            if found.count > 1 { format!(" ({} times)", found.count) } else { String::new() };
        add(format!("    finding   {}{times}: {}{detail}", found.finding, found.meaning));
        add(format!("              helps: {}", found.helps));
    }
    text
}

fn counted(number: impl Into<u64>, what: &str) -> String {
    let number = number.into();
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// The whole capture in some lines.
fn summarize(summary: &Summary) -> String {
    let mut text = format!(
        "{} of {} with {} in {:.1} s; {}, {} B\n",
        counted(summary.control_connections, "control connection"),
        counted(summary.clients, "client"),
        counted(summary.servers, "server"),
        summary.seconds,
        counted(summary.packets, "packet"),
        summary.bytes
    );
    let mut add = |what: &str, meaning: String| {
        let _ = writeln!(text, "    {what:<9} {meaning}");
    };
    for (what, map) in [
        ("control", &summary.protection),
        ("ccc", &summary.ccc),
        ("mode", &summary.negotiations),
        ("data", &summary.transfers),
    ] {
        if !map.is_empty() {
            add(what, counts(map));
        }
    }
    if summary.upload + summary.download > 0 {
        add("bytes", format!("{} up, {} down", summary.upload, summary.download));
    }
    add("gateway", format!("{} rewrites, {} openings", summary.rewrites, summary.openings));
    for (finding, sessions) in &summary.findings {
        add("finding", format!("{finding} in {sessions}"));
    }
    let skipped = summary.fragments + summary.garbled + summary.evicted;
    if skipped > 0 || summary.cut_short {
        let cut = if summary.cut_short { "; the file ends in a packet" } else { "" };
        add(
            "skipped",
            format!(
                "{} fragments, {} garbled packets, {} connections for want of room{cut}",
                summary.fragments, summary.garbled, summary.evicted
            ),
        );
    }
    text
}

fn counts(map: &BTreeMap<&'static str, u64>) -> String {
    let each: Vec<String> = map.iter().map(|(word, count)| format!("{count} {word}")).collect();
    each.join(", ")
}
