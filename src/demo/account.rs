//! One transfer as it is told afterwards: what each side said and saw, and what the gateway
//! reported. Text only; nothing is measured or sent here.

use crate::demo::client::Arrangement;
use crate::demo::dialogue::Said;
use crate::report::{PinholeOutcome, Report};
use crate::terms::{ByteCounts, DataMode, DataPath, Direction};
use std::fmt::Write;
use std::io::IsTerminal;
use std::time::Duration;

/// Columns of a row: its label, what is told, and a remark.
const LABEL: usize = 17;
const TOLD: usize = 58;

/// How words are set off.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    colour: bool,
}

impl Style {
    /// Colour on a terminal, unless the environment says otherwise (<https://no-color.org>).
    pub(super) fn of_stdout() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colour: std::io::stdout().is_terminal() && !unwanted }
    }

    /// A heading.
    pub(super) fn bold(self, text: &str) -> String {
        self.sgr("1", text)
    }

    /// An aside.
    pub(super) fn dim(self, text: &str) -> String {
        self.sgr("2", text)
    }

    fn good(self, text: &str) -> String {
        self.sgr("32", text)
    }

    /// Something that should not be.
    pub(super) fn bad(self, text: &str) -> String {
        self.sgr("1;31", text)
    }

    /// What the gateway did.
    fn own(self, text: &str) -> String {
        self.sgr("36", text)
    }

    fn sgr(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A file that arrived as it was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moved {
    /// Its length.
    pub(super) bytes: usize,
    /// From PASV, EPSV, PORT or EPRT to the last reply.
    pub(super) took: Duration,
}

/// Everything known about one transfer.
#[derive(Debug)]
pub(super) struct Account {
    /// How the data connection was arranged.
    pub(super) arrangement: Arrangement,
    /// Which way the file went.
    pub(super) direction: Direction,
    /// What has arrived and was compared, or what went wrong.
    pub(super) outcome: Result<Moved, String>,
    /// What the client recorded.
    pub(super) client: Vec<(Said, String)>,
    /// What the server recorded.
    pub(super) server: Vec<(Said, String)>,
    /// What the gateway reported.
    pub(super) reports: Vec<Report>,
}

impl Account {
    /// The whole account, some ten lines.
    pub(super) fn text(&self, number: usize, style: Style) -> String {
        let mut text = self.heading(number, style);
        let (sent, received) = self.lines();
        let (sender, receiver) = match self.arrangement.mode() {
            DataMode::Passive => ("server sent", "client received"),
            DataMode::Active => ("client sent", "server received"),
        };
        row(&mut text, sender, sent.unwrap_or("-"), "");
        // The line is held until the pinhole is open.
        self.report_rows(&mut text, style, is_opening);
        row(&mut text, receiver, received.unwrap_or("-"), &remark(sent, received, style));
        self.report_rows(&mut text, style, is_closing);
        let client = line_of(&self.client, Said::Data, "");
        let server = line_of(&self.server, Said::Data, "");
        if let (Some(client), Some(server)) = (client, server) {
            row(&mut text, "client saw", client, "");
            let remark =
                if client == server { style.dim("the same") } else { style.own("translated") };
            row(&mut text, "server saw", server, &remark);
        }
        self.report_rows(&mut text, style, is_end);
        match &self.outcome {
            Ok(Moved { bytes, took }) => {
                let took = format!("{:.1} ms", took.as_secs_f64() * 1000.0);
                row(
                    &mut text,
                    "file",
                    &format!("{bytes} bytes arrived, every one compared"),
                    &took,
                );
            }
            Err(_) => self.write_dialogues(&mut text),
        }
        text
    }

    fn heading(&self, number: usize, style: Style) -> String {
        let verb = match self.direction {
            Direction::Download => "RETR",
            Direction::Upload => "STOR",
        };
        let title = format!(
            "{number}  {} in {} mode: {}, {verb}",
            self.direction.label(),
            self.arrangement.mode().label(),
            self.arrangement.verb(),
        );
        let verdict = match &self.outcome {
            Ok(_) => style.good("ok"),
            Err(why) => style.bad(&format!("FAILED: {why}")),
        };
        let width = LABEL + TOLD + 5;
        format!("{}{verdict}\n", style.bold(&format!("{title:<width$}")))
    }

    /// The line that names the data address, as sent and as received.
    fn lines(&self) -> (Option<&str>, Option<&str>) {
        let start = match self.arrangement {
            Arrangement::Pasv => "227 ",
            Arrangement::Epsv => "229 ",
            Arrangement::Port => "PORT ",
            Arrangement::Eprt => "EPRT ",
        };
        let (sender, receiver) = match self.arrangement.mode() {
            DataMode::Passive => (&self.server, &self.client),
            DataMode::Active => (&self.client, &self.server),
        };
        (line_of(sender, Said::Sent, start), line_of(receiver, Said::Received, start))
    }

    /// The rows of the reports of one kind.
    fn report_rows(&self, text: &mut String, style: Style, wanted: fn(&Report) -> bool) {
        for report in self.reports.iter().filter(|report| wanted(report)) {
            match report {
                Report::PinholeOpened { pinhole, elapsed, .. } => {
                    let remark = style.own(&format!("in {} µs", elapsed.as_micros()));
                    row(text, "pinhole opened", &pinhole.to_string(), &remark);
                }
                Report::PinholeClosed { outcome, .. } => {
                    let told = match outcome {
                        PinholeOutcome::Used => "by the one connection that it was opened for",
                        PinholeOutcome::Expired => "nothing came in time",
                        PinholeOutcome::Withdrawn => "not needed any more",
                        PinholeOutcome::Failed => "it could not be opened",
                    };
                    row(text, "pinhole closed", told, &style.own(outcome.label()));
                }
                Report::DataConnectionEnded { path, bytes, outcome, .. } => {
                    let told = carried(*path, self.direction, *bytes);
                    let label = format!("{} path", path.label());
                    row(text, &label, &told, &style.own(outcome.label()));
                }
                _ => {}
            }
        }
    }

    /// Everything that was said, for whoever has to find out why.
    fn write_dialogues(&self, text: &mut String) {
        for (who, lines) in [("client", &self.client), ("server", &self.server)] {
            for (said, line) in lines {
                let label = match said {
                    Said::Sent => format!("{who} sent"),
                    Said::Received => format!("{who} received"),
                    Said::Data => format!("{who} saw data"),
                };
                row(text, &label, line, "");
            }
        }
    }
}

/// The first line of that kind that begins so.
fn line_of<'a>(lines: &'a [(Said, String)], said: Said, start: &str) -> Option<&'a str> {
    let mut lines = lines.iter().map(|(who, line)| (*who, line.as_str()));
    lines.find(|&(who, line)| who == said && line.starts_with(start)).map(|(_, line)| line)
}

fn remark(sent: Option<&str>, received: Option<&str>, style: Style) -> String {
    match (sent, received) {
        (Some(sent), Some(received)) if sent == received => style.dim("unchanged"),
        (Some(_), Some(_)) => style.own("rewritten"),
        (_, None) => style.bad("never arrived"),
        (None, Some(_)) => style.bad("never sent"),
    }
}

fn is_opening(report: &Report) -> bool {
    matches!(report, Report::PinholeOpened { .. })
}

fn is_closing(report: &Report) -> bool {
    matches!(report, Report::PinholeClosed { .. })
}

fn is_end(report: &Report) -> bool {
    matches!(report, Report::DataConnectionEnded { .. })
}

fn carried(path: DataPath, direction: Direction, bytes: Option<ByteCounts>) -> String {
    let Some(ByteCounts { upload, download }) = bytes else {
        return "bytes not counted (net.netfilter.nf_conntrack_acct)".to_owned();
    };
    let (there, back) = match direction {
        Direction::Upload => (upload, download),
        Direction::Download => (download, upload),
    };
    match path {
        DataPath::Kernel => format!("{there} bytes, {back} back: IP packets with headers"),
        DataPath::Relay => format!("{there} bytes of data, moved by the gateway itself"),
    }
}

fn row(text: &mut String, label: &str, told: &str, remark: &str) {
    let line = format!("   {label:<LABEL$} {told:<TOLD$} {remark}");
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}", line.trim_end());
}

/// One report in one line, for the live view of `--hold`; `None` for what only counts.
pub(super) fn live_line(report: &Report) -> Option<String> {
    Some(match report {
        Report::SessionStarted { client, original_dst } => {
            format!("{client} dials {original_dst}")
        }
        Report::ServerConnected { server, seen_as, .. } => {
            format!("connected to {server}, which sees {seen_as}")
        }
        Report::LineRewritten { line } => format!("{} rewritten", line.label()),
        Report::Refused { verb, reason, rule: _ } => format!("{verb} refused: {}", reason.label()),
        Report::PinholeOpened { pinhole, path, elapsed, .. } => {
            let (path, elapsed) = (path.label(), elapsed.as_micros());
            format!("pinhole {pinhole} opened in {elapsed} µs, {path} path")
        }
        Report::PinholeClosed { outcome, .. } => format!("pinhole closed: {}", outcome.label()),
        Report::DataConnectionEnded { outcome, bytes, .. } => {
            let counted = bytes.map_or_else(String::new, |bytes| {
                format!(", {} bytes up, {} bytes down", bytes.upload, bytes.download)
            });
            format!("data connection {}{counted}", outcome.label())
        }
        Report::SessionEnded { cause, .. } | Report::SessionRefused { cause, .. } => {
            format!("ended: {}", cause.label())
        }
        Report::LoginAccepted { .. }
        | Report::LoginRefused { .. }
        | Report::ChangeEnded { .. }
        | Report::NameAsked { .. }
        | Report::ServerCertificateShown { .. }
        | Report::CommandReceived { .. }
        | Report::LineDistrusted { .. }
        | Report::DataConnectionStarted { .. }
        | Report::TransferNamed { .. }
        | Report::ProtectionChanged { .. }
        | Report::CccObserved { .. }
        | Report::TlsRoleTurned { .. }
        | Report::BlindRangeOpened { .. }
        | Report::BlindRangeFailed { .. }
        | Report::HandshakeEnded { .. }
        | Report::LeafShown { .. }
        | Report::ClientCertificateAccepted { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pinhole::Pinhole;
    use crate::report::DataOutcome;
    use crate::terms::{ProtectionLevel, TransferId};

    const PLAIN: Style = Style { colour: false };

    fn account() -> Account {
        let line = |said, text: &str| (said, text.to_owned());
        Account {
            arrangement: Arrangement::Port,
            direction: Direction::Download,
            outcome: Ok(Moved { bytes: 1_048_576, took: Duration::from_micros(3_140) }),
            client: vec![
                line(Said::Sent, "PORT 192,0,2,2,195,80"),
                line(Said::Data, "198.51.100.2:35001 -> 192.0.2.2:50000"),
            ],
            server: vec![
                line(Said::Received, "PORT 198,51,100,1,196,26"),
                line(Said::Data, "198.51.100.2:35001 -> 198.51.100.1:50202"),
            ],
            reports: vec![
                Report::PinholeOpened {
                    transfer: TransferId(0),
                    path: DataPath::Kernel,
                    mode: DataMode::Active,
                    pinhole: Pinhole {
                        peer: "198.51.100.2".parse().unwrap(),
                        entry: "198.51.100.1:50202".parse().unwrap(),
                    },
                    elapsed: Duration::from_micros(11),
                },
                Report::DataConnectionEnded {
                    transfer: TransferId(0),
                    command: None,
                    path: DataPath::Kernel,
                    mode: DataMode::Active,
                    protection: ProtectionLevel::Clear,
                    outcome: DataOutcome::Completed,
                    bytes: Some(ByteCounts { upload: 4_000, download: 1_100_000 }),
                    duration: Duration::from_millis(3),
                },
            ],
        }
    }

    #[test]
    fn a_rewritten_line_is_shown_both_ways() {
        let text = account().text(3, PLAIN);
        let expected = "\
3  download in active mode: PORT, RETR                                          ok
   client sent       PORT 192,0,2,2,195,80
   pinhole opened    198.51.100.2 -> 198.51.100.1:50202                         in 11 µs
   server received   PORT 198,51,100,1,196,26                                   rewritten
   client saw        198.51.100.2:35001 -> 192.0.2.2:50000
   server saw        198.51.100.2:35001 -> 198.51.100.1:50202                   translated
   kernel path       1100000 bytes, 4000 back: IP packets with headers          completed
   file              1048576 bytes arrived, every one compared                  3.1 ms
";
        assert_eq!(text, expected);
        assert!(text.lines().all(|line| line.chars().count() <= 100));
    }

    #[test]
    fn a_failure_tells_all_that_was_said() {
        let mut failed = account();
        failed.outcome = Err("no data connection".to_owned());
        failed.server.push((Said::Sent, "425 No data connection".to_owned()));
        let text = failed.text(1, PLAIN);
        assert!(text.contains("FAILED: no data connection"), "{text}");
        assert!(text.contains("server sent       425 No data connection"), "{text}");
    }

    #[test]
    fn colour_only_where_it_is_wanted() {
        assert!(!account().text(1, PLAIN).contains('\x1b'));
        assert!(account().text(1, Style { colour: true }).contains("\x1b[32mok\x1b[0m"));
    }
}
