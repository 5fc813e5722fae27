//! States of a plugin in the fleet and in a tenant, and the legal steps between them.
//! It stores nothing: a step is written together with its audit row by the database.

use std::fmt;
use std::str::FromStr;

/// State of a plugin in the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PluginStatus {
    /// Admitted and stored, nothing runs.
    Registered,
    /// Being verified, compiled, migrated; a crash resumes here.
    Installing,
    /// Ready to serve tenants.
    Installed,
    /// In use.
    Active,
    /// Stopped by an admin, data kept.
    Disabled,
    /// Being removed.
    Uninstalling,
    /// Removed; its versions stay known.
    Uninstalled,
}

/// A step of a plugin between two states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transition {
    /// REGISTERED to INSTALLING.
    BeginInstall,
    /// INSTALLING to INSTALLED.
    FinishInstall,
    /// INSTALLING back to REGISTERED, with the reason.
    FailInstall,
    /// INSTALLED or DISABLED to ACTIVE.
    Enable,
    /// ACTIVE to DISABLED.
    Disable,
    /// INSTALLED or DISABLED to UNINSTALLING.
    BeginUninstall,
    /// UNINSTALLING to UNINSTALLED.
    FinishUninstall,
    /// UNINSTALLED to REGISTERED.
    Register,
    /// A new version beside the old one; the state stays.
    Update,
}

/// A step that the state does not allow; names those that it does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a plugin that is {from} cannot {transition}; legal from here: {}", list(*from))]
pub struct RefusedTransition {
    /// The state that it is in.
    pub from: PluginStatus,
    /// The step that was asked for.
    pub transition: Transition,
}

impl PluginStatus {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Registered,
        Self::Installing,
        Self::Installed,
        Self::Active,
        Self::Disabled,
        Self::Uninstalling,
        Self::Uninstalled,
    ];

    /// The state after `transition`.
    pub fn after(self, transition: Transition) -> Result<Self, RefusedTransition> {
        use Transition as T;
        match (self, transition) {
            (Self::Registered, T::BeginInstall) => Ok(Self::Installing),
            (Self::Installing, T::FinishInstall) => Ok(Self::Installed),
            (Self::Installing, T::FailInstall) | (Self::Uninstalled, T::Register) => Ok(Self::Registered),
            (Self::Installed | Self::Disabled, T::Enable) => Ok(Self::Active),
            (Self::Active, T::Disable) => Ok(Self::Disabled),
            (Self::Installed | Self::Disabled, T::BeginUninstall) => Ok(Self::Uninstalling),
            (Self::Uninstalling, T::FinishUninstall) => Ok(Self::Uninstalled),
            (Self::Installed | Self::Active | Self::Disabled, T::Update) => Ok(self),
            (from, transition) => Err(RefusedTransition { from, transition }),
        }
    }

    /// The steps that are legal from here.
    pub fn legal(self) -> impl Iterator<Item = Transition> {
        Transition::ALL.into_iter().filter(move |transition| self.after(*transition).is_ok())
    }

    /// Whether tenants that enabled the plugin are served.
    pub const fn serves(self) -> bool {
        matches!(self, Self::Installed | Self::Active)
    }

    /// The state as JSON and SQL write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Installing => "installing",
            Self::Installed => "installed",
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Uninstalling => "uninstalling",
            Self::Uninstalled => "uninstalled",
        }
    }
}

impl Transition {
    /// Every step.
    pub const ALL: [Self; 9] = [
        Self::BeginInstall,
        Self::FinishInstall,
        Self::FailInstall,
        Self::Enable,
        Self::Disable,
        Self::BeginUninstall,
        Self::FinishUninstall,
        Self::Register,
        Self::Update,
    ];

    /// The step as errors and the audit log write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BeginInstall => "install",
            Self::FinishInstall => "finish-install",
            Self::FailInstall => "fail-install",
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::BeginUninstall => "uninstall",
            Self::FinishUninstall => "finish-uninstall",
            Self::Register => "register",
            Self::Update => "update",
        }
    }
}

/// State of a plugin in one tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TenantPluginStatus {
    /// Serves.
    Ready,
    /// Migrating and starting for the first time.
    Installing,
    /// Moving to another version.
    Upgrading,
    /// A step failed; `last_error` says which.
    Failed,
    /// Off, data kept.
    Disabled,
    /// Paused by the host after failures.
    Quarantined,
    /// Needs another contract version than this host has.
    Incompatible,
}

impl TenantPluginStatus {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Ready,
        Self::Installing,
        Self::Upgrading,
        Self::Failed,
        Self::Disabled,
        Self::Quarantined,
        Self::Incompatible,
    ];

    /// The state as JSON and SQL write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Installing => "installing",
            Self::Upgrading => "upgrading",
            Self::Failed => "failed",
            Self::Disabled => "disabled",
            Self::Quarantined => "quarantined",
            Self::Incompatible => "incompatible",
        }
    }
}

/// Text that names no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown state")]
pub struct InvalidStatus;

impl FromStr for PluginStatus {
    type Err = InvalidStatus;

    fn from_str(text: &str) -> Result<Self, InvalidStatus> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(InvalidStatus)
    }
}

impl FromStr for TenantPluginStatus {
    type Err = InvalidStatus;

    fn from_str(text: &str) -> Result<Self, InvalidStatus> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(InvalidStatus)
    }
}

impl fmt::Display for PluginStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for TenantPluginStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn list(from: PluginStatus) -> String {
    let legal: Vec<&str> = from.legal().map(Transition::as_str).collect();
    legal.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_legal_steps_are_these_and_no_others() {
        let check = |from: PluginStatus, wanted: &[(Transition, PluginStatus)]| {
            let found: Vec<_> = from.legal().map(|t| (t, from.after(t).unwrap())).collect();
            assert_eq!(found, wanted, "{from}");
        };
        use PluginStatus as S;
        use Transition as T;

        check(S::Registered, &[(T::BeginInstall, S::Installing)]);
        check(S::Installing, &[(T::FinishInstall, S::Installed), (T::FailInstall, S::Registered)]);
        check(S::Installed, &[(T::Enable, S::Active), (T::BeginUninstall, S::Uninstalling), (T::Update, S::Installed)]);
        check(S::Active, &[(T::Disable, S::Disabled), (T::Update, S::Active)]);
        check(S::Disabled, &[(T::Enable, S::Active), (T::BeginUninstall, S::Uninstalling), (T::Update, S::Disabled)]);
        check(S::Uninstalling, &[(T::FinishUninstall, S::Uninstalled)]);
        check(S::Uninstalled, &[(T::Register, S::Registered)]);
    }

    #[test]
    fn a_refused_step_names_the_legal_ones() {
        let refused = PluginStatus::Active.after(Transition::BeginUninstall).unwrap_err();

        assert_eq!(refused.to_string(), "a plugin that is active cannot uninstall; legal from here: disable, update");
    }
}
