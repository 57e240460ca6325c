//! What a host says of itself under `/proc` and `/lib/modules`, read with bounds.
//!
//! Everything here may be absent or odd, in a container notably: then the answer is `None` and
//! never a panic.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Most that is read of any one file. `modules.dep` of a distribution's kernel has about 700 KiB.
const MAX_READ: u64 = 4 << 20;

/// Most interfaces that are looked at one by one.
const MAX_INTERFACES: usize = 256;

/// Capabilities, by their number in linux/capability.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Capability {
    /// Ports below `net.ipv4.ip_unprivileged_port_start`.
    NetBindService = 10,
    /// nftables, transparent sockets, policy routes.
    NetAdmin = 12,
}

/// A host, seen through the files below one root.
#[derive(Debug)]
pub(super) struct Host {
    root: PathBuf,
}

impl Host {
    /// This host.
    pub(super) fn this() -> Self {
        Self { root: PathBuf::from("/") }
    }

    /// A file's text without the white space around it.
    fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        let mut bytes = Vec::new();
        File::open(self.root.join(path)).ok()?.take(MAX_READ).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// The value of a sysctl, written with slashes: `net/ipv4/ip_forward`.
    pub(super) fn sysctl(&self, key: &str) -> Option<i64> {
        self.text(format!("proc/sys/{key}"))?.parse().ok()
    }

    /// The kernel's release as the kernel writes it.
    pub(super) fn kernel_release(&self) -> Option<String> {
        self.text("proc/sys/kernel/osrelease")
    }

    /// True if this process has the capability in effect.
    pub(super) fn has_capability(&self, capability: Capability) -> bool {
        let status = self.text("proc/self/status").unwrap_or_default();
        effective_capabilities(&status)
            .is_some_and(|effective| effective & (1 << (capability as u32)) != 0)
    }

    /// True if a kernel module is loaded. What is built into the kernel is not listed there.
    pub(super) fn is_loaded(&self, module: &str) -> bool {
        let modules = self.text("proc/modules").unwrap_or_default();
        modules.lines().any(|line| line.split(' ').next() == Some(module))
    }

    /// True if a kernel module is loaded, built in, or there to be loaded.
    pub(super) fn has_module(&self, module: &str) -> bool {
        let release = self.kernel_release().unwrap_or_default();
        self.is_loaded(module)
            || self.root.join("sys/module").join(module).is_dir()
            || ["modules.builtin", "modules.dep"].into_iter().any(|index| {
                let listed = self.text(Path::new("lib/modules").join(&release).join(index));
                listed.is_some_and(|text| text.lines().any(|line| names_module(line, module)))
            })
    }

    /// Interfaces whose reverse path filter is strict, with the interface-wide default taken in:
    /// the kernel applies the stricter of `all` and the interface's own.
    pub(super) fn strict_reverse_path(&self) -> Vec<String> {
        let directory = self.root.join("proc/sys/net/ipv4/conf");
        let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
        let value_of = |name: &str| self.sysctl(&format!("net/ipv4/conf/{name}/rp_filter"));
        let everywhere = value_of("all").unwrap_or(0);
        let mut strict: Vec<String> = entries
            .take(MAX_INTERFACES)
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| !["all", "default", "lo"].contains(&name.as_str()))
            .filter(|name| value_of(name).unwrap_or(0).max(everywhere) == 1)
            .collect();
        strict.sort();
        strict
    }
}

/// The number behind `CapEff:` in `/proc/PID/status`.
fn effective_capabilities(status: &str) -> Option<u64> {
    let field = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(field.trim(), 16).ok()
}

/// True if a line of `modules.builtin` or `modules.dep` is about the module. Files are named with
/// `-` or `_` alike, and may be compressed.
fn names_module(line: &str, module: &str) -> bool {
    let file = line.split(':').next().unwrap_or(line);
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split(".ko").next().unwrap_or(name).replace('-', "_") == module
}

/// Major and minor number of a kernel release such as `6.18.44-fc-v669`.
pub(super) fn version_of(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A host made of files in a temporary directory, removed at the end.
    pub(in crate::cli::doctor) struct Sketch(pub(in crate::cli::doctor) Host);

    impl Sketch {
        pub(in crate::cli::doctor) fn of(files: &[(&str, &str)]) -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let root = std::env::temp_dir()
                .join(format!("ftpgate-doctor-{}-{number}", std::process::id()));
            for (path, content) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, content).unwrap();
            }
            Self(Host { root })
        }
    }

    impl Drop for Sketch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0.root);
        }
    }

    #[test]
    fn versions() {
        for (release, expected) in [
            ("6.18.44-fc-v669", Some((6, 18))),
            ("5.12.0", Some((5, 12))),
            ("6.1-custom", Some((6, 1))),
            ("custom", None),
            ("", None),
            ("99999999999.1", None),
        ] {
            assert_eq!(version_of(release), expected, "{release}");
        }
    }

    #[test]
    fn capabilities() {
        let sketch = Sketch::of(&[("proc/self/status", "Name:\tx\nCapEff:\t0000000000001000\n")]);
        assert!(sketch.0.has_capability(Capability::NetAdmin));
        assert!(!sketch.0.has_capability(Capability::NetBindService));
        assert_eq!(effective_capabilities("CapEff: nonsense"), None);
        assert_eq!(effective_capabilities(""), None);
    }

    #[test]
    fn modules_loaded_built_in_or_at_hand() {
        let sketch = Sketch::of(&[
            ("proc/sys/kernel/osrelease", "6.1.0\n"),
            ("proc/modules", "nf_tables 300000 2 nft_ct, Live 0x0\n"),
            ("lib/modules/6.1.0/modules.builtin", "kernel/net/netfilter/nft-nat.ko\n"),
            ("lib/modules/6.1.0/modules.dep", "kernel/net/netfilter/nft_tproxy.ko.xz: a.ko.xz\n"),
        ]);
        for (module, expected) in
            [("nf_tables", true), ("nft_nat", true), ("nft_tproxy", true), ("nft_socket", false)]
        {
            assert_eq!(sketch.0.has_module(module), expected, "{module}");
        }
        assert!(!sketch.0.is_loaded("nft_nat"));
    }

    #[test]
    fn the_stricter_reverse_path_filter_holds() {
        let sketch = Sketch::of(&[
            ("proc/sys/net/ipv4/conf/all/rp_filter", "0\n"),
            ("proc/sys/net/ipv4/conf/lo/rp_filter", "1\n"),
            ("proc/sys/net/ipv4/conf/wan/rp_filter", "1\n"),
            ("proc/sys/net/ipv4/conf/lan/rp_filter", "2\n"),
        ]);
        assert_eq!(sketch.0.strict_reverse_path(), ["wan"]);
    }

    #[test]
    fn a_host_without_proc_has_nothing_and_breaks_nothing() {
        let sketch = Sketch::of(&[]);
        assert_eq!(sketch.0.sysctl("net/ipv4/ip_forward"), None);
        assert_eq!(sketch.0.kernel_release(), None);
        assert!(sketch.0.strict_reverse_path().is_empty());
        assert!(!sketch.0.has_module("nf_tables"));
    }
}
