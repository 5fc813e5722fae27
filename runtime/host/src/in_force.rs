//! What decides at this moment: the installed policy with every revocation as a deny entry of it, and the policy that is only
//! observed; and the root keys that sign policies. It judges nothing; `release` does.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use bulkhead_model::Code;
use bulkhead_model::manifest::Issue;
use bulkhead_trust::policy::Deny;
use bulkhead_trust::{Policy, Roots};

use crate::error::Error;

/// The policies of this host. Readers take no lock.
pub(crate) struct InForce {
    parts: parking_lot::Mutex<Parts>,
    effective: ArcSwap<Policy>,
    observed: ArcSwapOption<Policy>,
}

struct Parts {
    installed: Policy,
    revoked: Vec<Deny>,
    epoch: u64,
}

impl InForce {
    /// Nothing is allowed.
    pub(crate) fn new() -> Self {
        let parts = Parts { installed: Policy::deny_all(), revoked: Vec::new(), epoch: 0 };
        Self {
            effective: ArcSwap::from_pointee(parts.installed.clone()),
            parts: parking_lot::Mutex::new(parts),
            observed: ArcSwapOption::empty(),
        }
    }

    /// What decides.
    pub(crate) fn load(&self) -> Arc<Policy> {
        self.effective.load_full()
    }

    /// What is judged beside it.
    pub(crate) fn observed(&self) -> Option<Arc<Policy>> {
        self.observed.load_full()
    }

    /// Version of the newest policy, whether it decides or not.
    pub(crate) fn newest(&self) -> u64 {
        self.observed().map_or(0, |policy| policy.version).max(self.effective.load().version)
    }

    /// Epoch of the last revocation that is in force here.
    pub(crate) fn epoch(&self) -> u64 {
        self.parts.lock().epoch
    }

    /// Puts a policy in force.
    pub(crate) fn install(&self, policy: Policy) {
        let mut parts = self.parts.lock();
        parts.installed = policy;
        self.effective.store(Arc::new(with(&parts.installed, &parts.revoked)));
    }

    /// Puts all revocations up to `epoch` in force; an older list than the one in force changes nothing.
    pub(crate) fn revoke(&self, revoked: Vec<Deny>, epoch: u64) {
        let mut parts = self.parts.lock();
        if epoch < parts.epoch {
            return;
        }
        (parts.revoked, parts.epoch) = (revoked, epoch);
        self.effective.store(Arc::new(with(&parts.installed, &parts.revoked)));
    }

    /// Judges a policy beside the one that decides, or none.
    pub(crate) fn observe(&self, policy: Option<Policy>) {
        self.observed.store(policy.map(Arc::new));
    }

    /// What would decide if this policy were installed: revocations outlive every policy.
    pub(crate) fn if_installed(&self, policy: &Policy) -> Policy {
        with(policy, &self.parts.lock().revoked)
    }
}

fn with(policy: &Policy, revoked: &[Deny]) -> Policy {
    let mut policy = policy.clone();
    policy.deny.extend_from_slice(revoked);
    policy
}

/// The root keys of this host. Readers take no lock.
pub(crate) struct RootKeys {
    anchor: Roots,
    in_force: ArcSwap<RootsInForce>,
}

/// The root keys that sign policies now.
pub(crate) struct RootsInForce {
    /// The keys; the last ones that were known where the chain is broken.
    pub(crate) roots: Roots,
    /// Why none of them counts, if none does.
    pub(crate) broken: Option<String>,
}

impl RootKeys {
    /// The configured keys, with which the chain begins.
    pub(crate) fn new(anchor: Roots) -> Self {
        let in_force = ArcSwap::from_pointee(RootsInForce { roots: anchor.clone(), broken: None });
        Self { anchor, in_force }
    }

    /// The configured keys.
    pub(crate) const fn anchor(&self) -> &Roots {
        &self.anchor
    }

    /// What is in force.
    pub(crate) fn load(&self) -> Arc<RootsInForce> {
        self.in_force.load_full()
    }

    /// Puts roots in force.
    pub(crate) fn put(&self, roots: Roots) {
        self.in_force.store(Arc::new(RootsInForce { roots, broken: None }));
    }

    /// Puts none in force until the chain is read again and is whole.
    pub(crate) fn break_off(&self, reason: &str) {
        let roots = self.load().roots.clone();
        self.in_force.store(Arc::new(RootsInForce { roots, broken: Some(reason.to_owned()) }));
    }
}

impl RootsInForce {
    /// The keys, if they count.
    pub(crate) fn usable(&self) -> Result<&Roots, Error> {
        match &self.broken {
            None => Ok(&self.roots),
            Some(reason) => {
                let message = format!("the chain of root keys is broken: {reason}");
                Err(Error::Invalid { code: Code::PolicyInvalid, issues: vec![Issue::new("", message)] })
            }
        }
    }
}
