//! Capabilities (capabilities(7)): which are kept, and how the others go so that they do not come back.

use super::files::{Denied, Use};
use super::user::User;
use super::{ConfinementError, Needs};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities,
    clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_capabilities_secure_bits, set_keep_capabilities,
};
use std::io;

/// A capability that a gateway may have a use for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// The firewall, its routes, transparent sockets.
    NetAdmin,
    /// Ports below `net.ipv4.ip_unprivileged_port_start`.
    NetBindService,
    /// Packets as they pass an interface (`observe`).
    NetRaw,
    /// Files that the user may not read.
    ReadFiles,
    /// Files that the user may not write.
    WriteFiles,
}

impl Right {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::NetAdmin, Self::NetBindService, Self::NetRaw, Self::ReadFiles, Self::WriteFiles];

    /// As capabilities(7) calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::NetBindService => "CAP_NET_BIND_SERVICE",
            Self::NetRaw => "CAP_NET_RAW",
            Self::ReadFiles => "CAP_DAC_READ_SEARCH",
            Self::WriteFiles => "CAP_DAC_OVERRIDE",
        }
    }

    /// What takes it.
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::NetAdmin => "nftables, transparent sockets, policy routes",
            Self::NetBindService => "listening on ports below 1024",
            Self::NetRaw => "packets of an interface",
            Self::ReadFiles => "files that the user may not read",
            Self::WriteFiles => "files that the user may not write",
        }
    }

    const fn capability(self) -> CapabilitySet {
        match self {
            Self::NetAdmin => CapabilitySet::NET_ADMIN,
            Self::NetBindService => CapabilitySet::NET_BIND_SERVICE,
            Self::NetRaw => CapabilitySet::NET_RAW,
            Self::ReadFiles => CapabilitySet::DAC_READ_SEARCH,
            Self::WriteFiles => CapabilitySet::DAC_OVERRIDE,
        }
    }

    /// Those in a set as `/proc/PID/status` writes it.
    pub(super) fn among(set: u64) -> Vec<Self> {
        let set = CapabilitySet::from_bits_retain(set);
        Self::ALL.into_iter().filter(|right| set.contains(right.capability())).collect()
    }
}

/// These rights by their names, with blanks between.
pub fn names(rights: &[Right]) -> String {
    match rights {
        [] => "no capability".to_owned(),
        some => some.iter().map(|right| right.name()).collect::<Vec<_>>().join(" "),
    }
}

/// Which capabilities stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// All that there are.
    All,
    /// These, as far as they are there.
    Only(CapabilitySet),
}

impl Kept {
    pub(super) fn for_needs(needs: &Needs, denied: &[Denied], drop: bool) -> Self {
        if !drop {
            return Self::All;
        }
        let wanted = needs.rights.iter().copied().chain(making_up_for(denied));
        let kept = wanted.fold(CapabilitySet::empty(), |kept, right| kept | right.capability());
        Self::Only(kept)
    }
}

/// Becomes `user` and gives up all capabilities but `kept`. None is left to be inherited, in the
/// ambient set or, where that may be changed (CAP_SETPCAP), in the bounding set; and becoming root
/// again would bring none back.
///
/// # Errors
/// Root cannot become that user, or no capability can be dropped.
pub(super) fn give_up(user: Option<&User>, kept: Kept) -> Result<(), ConfinementError> {
    let failed = |error: rustix::io::Errno| ConfinementError::Rights(error.into());
    let before = capabilities(None).map_err(failed)?;
    if let Some(user) = user {
        let become_user = || {
            set_keep_capabilities(true)?;
            user.become_in_this_thread()?;
            // Only the sets that are in effect went with root.
            set_capabilities(None, before)
        };
        become_user().map_err(|error| ConfinementError::Become {
            user: user.to_string(),
            reason: error.into(),
        })?;
    }
    let Kept::Only(kept) = kept else { return Ok(()) };
    if before.effective.contains(CapabilitySet::SETPCAP) {
        let none_comes_back = CapabilitiesSecureBits::NO_ROOT
            | CapabilitiesSecureBits::NO_ROOT_LOCKED
            | CapabilitiesSecureBits::NO_SETUID_FIXUP
            | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
            | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
        set_capabilities_secure_bits(none_comes_back).map_err(failed)?;
        for number in 0..u64::BITS {
            // Beyond the last that the kernel knows it says EINVAL.
            let _ =
                remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number));
        }
    }
    // Matters for a program that is started only, and none is: a kernel that has no ambient set says no.
    let _ = clear_ambient_capability_set();
    let kept = kept & before.permitted;
    let after =
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    match set_capabilities(None, after) {
        Ok(()) => Ok(()),
        // Where capset may not be called: of no account if nothing but the inheritable set is left.
        Err(_) if before.permitted == kept && before.effective == kept => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// The rights by which what is `denied` is reached all the same.
pub(super) fn making_up_for(denied: &[Denied]) -> Vec<Right> {
    let there = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.permitted);
    let of = |denied: &Denied| match denied.purpose {
        Use::Read if there.contains(CapabilitySet::DAC_READ_SEARCH) => Right::ReadFiles,
        // It reads as well; in a container it is often there and the other one is not.
        Use::Read | Use::Write | Use::Connect => Right::WriteFiles,
    };
    let mut rights: Vec<Right> = denied.iter().map(of).collect();
    rights.sort_unstable();
    rights.dedup();
    rights
}

/// True if there are capabilities for all that is `denied`.
pub(super) fn make_up_for(denied: &[Denied]) -> bool {
    let there = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.permitted);
    denied.iter().all(|denied| {
        there.contains(CapabilitySet::DAC_OVERRIDE)
            || denied.purpose == Use::Read && there.contains(CapabilitySet::DAC_READ_SEARCH)
    })
}

/// Takes every capability of this thread out of effect.
pub(super) fn none_in_effect() -> io::Result<()> {
    let sets = capabilities(None)?;
    if !sets.effective.is_empty() {
        set_capabilities(None, CapabilitySets { effective: CapabilitySet::empty(), ..sets })?;
    }
    Ok(())
}

/// The rights in effect in this thread.
pub(super) fn held() -> Vec<Right> {
    capabilities(None).map_or_else(|_| Vec::new(), |sets| Right::among(sets.effective.bits()))
}
