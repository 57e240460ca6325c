//! `confinement`: what the process gives up at its start. The settings are that part's own.

use super::section::{Found, Notes, Section};
use super::tree::{Node, Value};
use super::value::{self, scalar};
use crate::confinement::{Settings, UserChoice};

/// The section as read.
pub(super) struct ConfinementFile {
    settings: Settings,
    no_new_privs: Found<bool>,
}

impl ConfinementFile {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        const CAPABILITIES: &[(&str, bool)] = &[("drop", true), ("keep", false)];
        let default = Settings::default();
        let dropped = default.drop_capabilities;
        let no_new_privs = section.read("no_new_privs", value::boolean, default.no_new_privileges);
        let settings = Settings {
            user: section.read("user", user, default.user).value,
            drop_capabilities: section
                .read("capabilities", value::choice(CAPABILITIES), dropped)
                .value,
            no_new_privileges: no_new_privs.value,
            seccomp: section.read("seccomp", value::boolean, default.seccomp).value,
            landlock: section.read("landlock", value::boolean, default.landlock).value,
        };
        section.finish();
        Self { settings, no_new_privs }
    }

    /// The kernel gives seccomp and Landlock to those who cannot gain rights.
    pub(super) fn check(&self, notes: &Notes) {
        let Settings { no_new_privileges, seccomp, landlock, .. } = self.settings;
        if !no_new_privileges && (seccomp || landlock) {
            notes.problem_with(
                &self.no_new_privs,
                "seccomp and landlock need it: write true, or false for all three",
            );
        }
    }

    pub(super) fn into_settings(self) -> Settings {
        self.settings
    }
}

/// `auto`, `null`, or a user.
fn user(node: &Node) -> Result<UserChoice, String> {
    if matches!(node.value, Value::Null) {
        return Ok(UserChoice::Stay);
    }
    let text = scalar(node, "auto, null, or a user: NAME, UID or UID:GID")?;
    match text.as_str() {
        "auto" => Ok(UserChoice::Auto),
        "" => Err("an empty name is nobody: write auto, null, or a user".to_owned()),
        _ => Ok(UserChoice::Named(text)),
    }
}

/// Each key with its value as the file writes it.
pub(super) fn shown(settings: &Settings) -> [(&'static str, String); 5] {
    let user = match &settings.user {
        UserChoice::Auto => "auto".to_owned(),
        UserChoice::Stay => "null".to_owned(),
        UserChoice::Named(name) => name.clone(),
    };
    let capabilities = if settings.drop_capabilities { "drop" } else { "keep" };
    [
        ("confinement.user", user),
        ("confinement.capabilities", capabilities.to_owned()),
        ("confinement.no_new_privs", settings.no_new_privileges.to_string()),
        ("confinement.seccomp", settings.seccomp.to_string()),
        ("confinement.landlock", settings.landlock.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use crate::config::{fixed_changes, parse};
    use crate::confinement::{Settings, UserChoice};

    fn of(section: &str) -> Result<Settings, String> {
        let text = format!("listeners: [{{ server: 'h:21' }}]\nconfinement: {section}\n");
        let config = parse("x.yaml", &text).map_err(|problems| problems.to_string())?;
        Ok(config.confinement)
    }

    #[test]
    fn everything_is_on_unless_it_is_switched_off() {
        let all = Settings::default();
        assert_eq!(of("{}").unwrap(), all);
        for (section, settings) in [
            ("{ user: null }", Settings { user: UserChoice::Stay, ..all.clone() }),
            ("{ user: ftp }", Settings { user: UserChoice::Named("ftp".into()), ..all.clone() }),
            ("{ user: 400 }", Settings { user: UserChoice::Named("400".into()), ..all.clone() }),
            ("{ capabilities: keep }", Settings { drop_capabilities: false, ..all.clone() }),
            ("{ seccomp: false }", Settings { seccomp: false, ..all.clone() }),
            ("{ landlock: false }", Settings { landlock: false, ..all.clone() }),
        ] {
            assert_eq!(of(section).unwrap(), settings, "{section}");
        }
    }

    #[test]
    fn what_depends_on_no_new_privs_goes_with_it() {
        let told = of("{ no_new_privs: false }").unwrap_err();
        assert!(told.contains("x.yaml:2:30: confinement.no_new_privs: seccomp and"), "{told}");
        assert!(of("{ no_new_privs: false, seccomp: false }").is_err());
        let off = of("{ no_new_privs: false, seccomp: false, landlock: false }").unwrap();
        assert!(!off.no_new_privileges && off.drop_capabilities);
    }

    #[test]
    fn what_is_given_up_does_not_come_back_by_a_reload() {
        let parse = |text: &str| {
            parse("x.yaml", &format!("listeners: [{{ server: 'h:21' }}]\n{text}")).unwrap()
        };
        let (on, off) = (parse(""), parse("confinement: { user: null, seccomp: false }"));
        assert_eq!(fixed_changes(&on, &off), ["confinement.seccomp", "confinement.user"]);
    }
}
