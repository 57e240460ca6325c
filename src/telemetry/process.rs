//! The figures of the process, under the names that every Prometheus client library gives them:
//! <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>.
//!
//! They are read from `/proc` when somebody asks (proc_pid_stat(5)). What cannot be read is absent,
//! since a zero would be a claim.

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Counter, IntGauge};
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};
use std::fs;
use std::sync::{Mutex, PoisonError};

/// The figures of this process.
pub(super) struct Process {
    cpu: Mutex<Counter>,
    start: IntGauge,
    threads: IntGauge,
    resident: IntGauge,
    address_space: IntGauge,
    open_files: IntGauge,
    most_files: IntGauge,
}

impl Process {
    pub(super) fn new() -> Self {
        let gauge =
            |name: &str, help: &str| IntGauge::new(name, help).expect("a well-formed metric");
        let cpu = Counter::new(
            "process_cpu_seconds_total",
            "Seconds of processor time spent in user and system mode, all threads together.",
        );
        Self {
            cpu: Mutex::new(cpu.expect("a well-formed metric")),
            start: gauge(
                "process_start_time_seconds",
                "When the process was started, in seconds since 1970.",
            ),
            threads: gauge("process_threads", "Threads of the process."),
            resident: gauge("process_resident_memory_bytes", "Bytes of memory that are resident."),
            address_space: gauge("process_virtual_memory_bytes", "Bytes of address space."),
            open_files: gauge(
                "process_open_fds",
                "File descriptors open now; a session holds two, a transfer on the relay path more.",
            ),
            most_files: gauge(
                "process_max_fds",
                "File descriptors that may be open at once (RLIMIT_NOFILE).",
            ),
        }
    }

    /// The figures as they are now.
    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        let mut gathered = Vec::new();
        let mut tell = |gauge: &IntGauge, value: Option<u64>| {
            let Some(value) = value else { return };
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            gathered.extend(gauge.collect());
        };
        let stat = Stat::read();
        let figure = |of: fn(&Stat) -> u64| stat.as_ref().map(of);
        tell(&self.threads, figure(|stat| stat.threads));
        tell(&self.resident, figure(|stat| stat.resident_pages * page_size() as u64));
        tell(&self.address_space, figure(|stat| stat.address_space));
        tell(&self.start, stat.as_ref().and_then(|stat| Some(booted()? + stat.start / ticks())));
        tell(&self.open_files, open_files());
        tell(&self.most_files, getrlimit(Resource::Nofile).current);
        if let Some(stat) = stat {
            gathered.extend(self.count_time(stat.time as f64 / ticks() as f64));
        }
        gathered
    }

    /// Brings the counter to `seconds`, also where two ask at a time.
    fn count_time(&self, seconds: f64) -> Vec<MetricFamily> {
        let counter = self.cpu.lock().unwrap_or_else(PoisonError::into_inner);
        counter.inc_by((seconds - counter.get()).max(0.0));
        counter.collect()
    }
}

/// What `/proc/self/stat` says.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    /// Ticks of processor time.
    time: u64,
    threads: u64,
    /// Ticks from boot to start.
    start: u64,
    /// Bytes.
    address_space: u64,
    resident_pages: u64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// The program's name stands in brackets and may hold anything, brackets too.
    fn parse(text: &str) -> Option<Self> {
        let (_, behind_name) = text.rsplit_once(')')?;
        let fields: Vec<&str> = behind_name.split_ascii_whitespace().collect();
        // Numbered as in the manual, in which the state, the first one behind the name, is field 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            time: field(14)? + field(15)?,
            threads: field(20)?,
            start: field(22)?,
            address_space: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// Ticks in a second.
fn ticks() -> u64 {
    clock_ticks_per_second().max(1)
}

/// When the system was booted, in seconds since 1970.
fn booted() -> Option<u64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Since Linux 6.2 the size of the folder (proc(5)); before that it is 0, and they are counted one by
/// one, without the folder itself, which is open while it is read.
fn open_files() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    match fs::metadata(FOLDER).ok()?.len() {
        0 => Some(fs::read_dir(FOLDER).ok()?.count().saturating_sub(1) as u64),
        count => Some(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::TextEncoder;
    use std::collections::BTreeMap;
    use std::time::{Duration, Instant, SystemTime};

    fn figures(process: &Process) -> BTreeMap<String, f64> {
        let text = TextEncoder::new().encode_to_string(&process.gather()).unwrap();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples
            .map(|line| line.split_once(' ').unwrap())
            .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_name_may_hold_anything() {
        let text = "4242 (a ) S 1 (b) R 1 4242 4242 0 -1 4194560 900 0 3 0 17 25 0 0 20 0 7 0 123456 \
                    22200320 1100 18446744073709551615 1 1 0\n";
        let stat = Stat {
            time: 42,
            threads: 7,
            start: 123_456,
            address_space: 22_200_320,
            resident_pages: 1100,
        };
        assert_eq!(Stat::parse(text), Some(stat));
        assert_eq!(Stat::parse("4242 (short) R 1 2"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn the_figures_are_those_of_this_process() {
        let process = Process::new();
        let before = figures(&process);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - before["process_start_time_seconds"];
        assert!((-2.0..3600.0).contains(&age), "started {age} s ago");
        assert!(before["process_resident_memory_bytes"] > 1e6, "{before:?}");
        assert!(before["process_virtual_memory_bytes"] >= before["process_resident_memory_bytes"]);
        assert!(before["process_threads"] >= 2.0, "a test has a thread beside the main one");
        assert!(before["process_max_fds"] >= before["process_open_fds"]);

        // More than other tests of this process may close meanwhile.
        let held: Vec<_> = (0..100).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        let after = figures(&process);
        assert!(after["process_open_fds"] >= before["process_open_fds"] + 50.0, "{after:?}");
        drop(held);
    }

    #[test]
    fn processor_time_only_grows() {
        let process = Process::new();
        let time = || figures(&process)["process_cpu_seconds_total"];
        let before = time();
        let deadline = Instant::now() + Duration::from_secs(10);
        while time() < before + 0.03 {
            assert!(Instant::now() < deadline, "work costs no time");
        }
        assert_eq!(process.count_time(0.0)[0].name(), "process_cpu_seconds_total");
        assert!(time() >= before + 0.03);
    }
}
