//! What the commands about sessions have in common: figures for people, and columns that fit.

use crate::telemetry::snapshot::{Moved, SessionSnapshot, TransferSnapshot};
use ratatui::text::Span;

/// Columns beside each other, each as wide as it has to be; while they are wider than `width` all
/// together, the widest is cut.
pub(super) fn table<const N: usize>(
    heads: [&str; N],
    rows: &[[String; N]],
    width: usize,
) -> Vec<String> {
    const GAP: usize = 2;
    let mut widths = heads.map(cells);
    for row in rows {
        for (width, text) in widths.iter_mut().zip(row) {
            *width = (*width).max(cells(text));
        }
    }
    let gaps = GAP * N.saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > width {
        let Some(widest) = widths.iter_mut().max() else { break };
        if *widest <= 1 {
            break;
        }
        *widest -= 1;
    }
    let line = |texts: [&str; N]| {
        let fitted = texts.iter().zip(widths).map(|(text, width)| fit(text, width));
        fitted.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let rows = rows.iter().map(|row| line(row.each_ref().map(String::as_str)));
    std::iter::once(line(heads)).chain(rows).collect()
}

/// How many cells of a terminal the text takes.
fn cells(text: &str) -> usize {
    Span::raw(text).width()
}

/// Padded with spaces to `width`, or cut there.
fn fit(text: &str, width: usize) -> String {
    let taken = cells(text);
    if taken <= width {
        return format!("{text}{}", " ".repeat(width - taken));
    }
    let mut cut = String::new();
    for c in text.chars() {
        let longer = format!("{cut}{c}");
        if cells(&longer) >= width {
            break;
        }
        cut = longer;
    }
    let room = width.saturating_sub(cells(&cut) + 1);
    format!("{cut}…{}", " ".repeat(room))
}

/// `1.4 MiB`.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    // One digit behind the point rounds up to the next unit from here on.
    while value >= 1023.95 {
        let Some(next) = units.next() else { break };
        value /= 1024.0;
        unit = Some(next);
    }
    format!("{value:.1} {}", unit.unwrap_or(&""))
}

/// `7s`, `3m20s`, `2h05m`, `4d06h`.
pub(super) fn age(seconds: f64) -> String {
    // Saturates, and no gateway runs for so long.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
    let whole = seconds as u64;
    match (whole / 86_400, whole / 3600 % 24, whole / 60 % 60, whole % 60) {
        (0, 0, 0, seconds) => format!("{seconds}s"),
        (0, 0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (0, hours, minutes, _) => format!("{hours}h{minutes:02}m"),
        (days, hours, ..) => format!("{days}d{hours:02}h"),
    }
}

/// Both directions together.
pub(super) fn total(moved: Moved) -> u64 {
    moved.upload.saturating_add(moved.download)
}

/// What a session moves: its oldest transfer, how many more there are, and the bytes of all.
pub(super) fn data(session: &SessionSnapshot) -> String {
    let Some(first) = session.transfers.first() else {
        return match session.transfers_done {
            0 => "–".to_owned(),
            _ => bytes(total(session.moved)),
        };
    };
    let more = match session.transfers_running.saturating_sub(1) {
        0 => String::new(),
        more => format!(" +{more}"),
    };
    format!("{}{more}", transfer(first))
}

/// What it is for, and what it has moved; the path where that is not known.
fn transfer(transfer: &TransferSnapshot) -> String {
    let verb = transfer.verb.as_deref().unwrap_or("data");
    let so_far = transfer.moved.map(|moved| bytes(total(moved)));
    format!("{verb} {}", so_far.unwrap_or_else(|| transfer.data_path.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        for (count, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1_048_575, "1.0 MiB"),
            (5_368_709_120, "5.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(count), shown);
        }
        for (seconds, shown) in [
            (0.9, "0s"),
            (59.9, "59s"),
            (200.0, "3m20s"),
            (7500.0, "2h05m"),
            (367_200.0, "4d06h"),
            (f64::NAN, "0s"),
        ] {
            assert_eq!(age(seconds), shown);
        }
    }

    #[test]
    fn columns_line_up_and_the_widest_gives_way() {
        let rows = [["1", "x".repeat(20).as_str()].map(str::to_owned), ["10".into(), "文".into()]];
        assert_eq!(table(["ID", "TEXT"], &rows, 12), ["ID  TEXT", "1   xxxxxxx…", "10  文"]);
        assert_eq!(table(["ID", "TEXT"], &[], 12), ["ID  TEXT"]);
        let wide = [["文".repeat(9)]];
        assert_eq!(table(["A"], &wide, 6), ["A", "文文…"]);
    }
}
