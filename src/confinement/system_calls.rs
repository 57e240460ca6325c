//! seccomp(2): the system calls that a gateway makes, and no other.
//!
//! The list is what runs in the lab make, and what the C libraries (glibc, musl), tokio and the modules
//! for name resolution may make besides. What is not on it fails as if the kernel did not have it
//! (ENOSYS), for which libraries have another way. Calls that only somebody else's code would make
//! here end the process instead: to start a program, to look into another process, to change
//! the kernel, namespaces or users.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};
use std::collections::BTreeMap;

/// Those that pass whatever their arguments are.
const ALLOWED: &[i64] = &[
    // Files and pipes.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_splice,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_openat,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_statfs,
    libc::SYS_lseek,
    libc::SYS_fcntl,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_mkdirat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    // fchmodat2, everywhere; libc has no name for it on ARM, nor for the one below.
    452,
    libc::SYS_umask,
    libc::SYS_getcwd,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    // Sockets.
    libc::SYS_socketpair,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    // Waiting.
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    // Memory.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_membarrier,
    // Threads and signals.
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_tgkill,
    libc::SYS_tkill,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // About itself and the host.
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_capget,
    libc::SYS_getrusage,
    libc::SYS_prlimit64,
    libc::SYS_getrandom,
    libc::SYS_getcpu,
    libc::SYS_sysinfo,
    libc::SYS_uname,
];

/// The older forms, which musl and some of glibc still make where the architecture has them.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[i64] = &[
    libc::SYS_renameat,
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_mkdir,
    libc::SYS_chmod,
    libc::SYS_getdents,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_getrlimit,
    libc::SYS_time,
    libc::SYS_arch_prctl,
];
/// renameat, with which `rename` is made there.
#[cfg(target_arch = "aarch64")]
const ALLOWED_HERE: &[i64] = &[38];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ALLOWED_HERE: &[i64] = &[];

/// Those that nothing here has a reason to make, nor any library that resolves names.
const FATAL: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_open_by_handle_at,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_capset,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
];

/// Families of sockets: TCP and name resolution, netlink, the control socket and service managers.
const FAMILIES: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Requests to devices and sockets that only ask, or set what a descriptor does: none that types
/// into a terminal (TIOCSTI).
const REQUESTS: [u32; 9] = [
    0x5401, // TCGETS: is it a terminal?
    0x5413, // TIOCGWINSZ: likewise, musl
    0x5421, // FIONBIO
    0x541b, // FIONREAD
    0x5411, // TIOCOUTQ, SIOCOUTQ
    0x5451, // FIOCLEX
    0x8910, // SIOCGIFNAME
    0x8933, // SIOCGIFINDEX
    0x8913, // SIOCGIFFLAGS
];

/// What a process may change about itself: the names of its threads and of its memory.
const PROCESS_OPTIONS: [i32; 5] = [
    libc::PR_SET_NAME,
    libc::PR_GET_NAME,
    libc::PR_SET_VMA,
    libc::PR_GET_DUMPABLE,
    0x4155_5856, // PR_GET_AUXV: what the kernel told the process at its start.
];

type Error = Box<dyn std::error::Error>;

/// Filters what this thread, and those that it starts, ask of the kernel; for good.
///
/// # Errors
/// The kernel does not let us, or has no such filter for this architecture.
pub(super) fn filter() -> Result<(), Error> {
    // Of two answers the kernel takes the harder one.
    let (fatal, allowed) = programs()?;
    apply_filter(&fatal)?;
    apply_filter(&allowed)?;
    Ok(())
}

fn programs() -> Result<(BpfProgram, BpfProgram), Error> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let fatal = FATAL.iter().map(|call| (*call, Vec::new())).collect();
    let fatal =
        SeccompFilter::new(fatal, SeccompAction::Allow, SeccompAction::KillProcess, architecture)?;
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let allowed = SeccompFilter::new(allowed()?, missing, SeccompAction::Allow, architecture)?;
    Ok((fatal.try_into()?, allowed.try_into()?))
}

fn allowed() -> Result<BTreeMap<i64, Vec<SeccompRule>>, Error> {
    let whatever = ALLOWED.iter().chain(ALLOWED_HERE).map(|call| (*call, Vec::new()));
    let mut calls: BTreeMap<_, _> = whatever.collect();
    calls.insert(libc::SYS_socket, one_of(0, FAMILIES.map(word))?);
    calls.insert(libc::SYS_ioctl, one_of(1, REQUESTS.map(u64::from))?);
    calls.insert(libc::SYS_prctl, one_of(0, PROCESS_OPTIONS.map(word))?);
    // Threads, no processes. What clone3 is asked for cannot be seen from here: it is not there, and
    // the C library takes this one.
    let thread = word(libc::CLONE_THREAD);
    calls.insert(libc::SYS_clone, vec![bits(0, thread, thread)?]);
    // No memory that is written and run; what is run comes from files.
    let (written, run) = (word(libc::PROT_WRITE), word(libc::PROT_EXEC));
    calls.insert(libc::SYS_mmap, vec![bits(2, written, 0)?, bits(2, run, 0)?]);
    calls.insert(libc::SYS_mprotect, vec![bits(2, run, 0)?]);
    Ok(calls)
}

/// An argument of 32 bits as the filter compares it.
fn word(value: i32) -> u64 {
    u64::from(value.cast_unsigned())
}

/// True for calls whose argument is one of `values`.
fn one_of<const N: usize>(argument: u8, values: [u64; N]) -> Result<Vec<SeccompRule>, Error> {
    let rule = |value| {
        let length = SeccompCmpArgLen::Dword;
        let equal = SeccompCondition::new(argument, length, SeccompCmpOp::Eq, value)?;
        Ok(SeccompRule::new(vec![equal])?)
    };
    values.into_iter().map(rule).collect()
}

/// True for calls whose argument has these bits as in `value`.
fn bits(argument: u8, mask: u64, value: u64) -> Result<SeccompRule, Error> {
    let (length, equal) = (SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask));
    Ok(SeccompRule::new(vec![SeccompCondition::new(argument, length, equal, value)?])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_lists_are_programs_and_do_not_contradict_each_other() {
        let (fatal, allowed) = programs().unwrap();
        // What the kernel takes (BPF_MAXINSNS).
        assert!(fatal.len() < 4096 && allowed.len() < 4096);
        let allowed = super::allowed().unwrap();
        let both: Vec<_> = FATAL.iter().filter(|call| allowed.contains_key(call)).collect();
        assert!(both.is_empty(), "{both:?}");
        for list in [ALLOWED, ALLOWED_HERE, FATAL] {
            assert_eq!(
                list.iter().collect::<BTreeSet<_>>().len(),
                list.len(),
                "one is there twice"
            );
        }
    }
}
