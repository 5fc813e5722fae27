//! Why something may not become, or stay, a plugin.
//! It decides nothing; every check of this crate answers with values of this type.

use bulkhead_model::{Code, Coded, Issue};

/// Most refusals that one answer lists.
pub const REFUSALS_MAX: usize = 100;

/// One reason. A check answers with all that apply, not with the first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Refusal {
    /// What sort of reason, one of those for which [`Code::is_refusal`] holds.
    pub code: Code,
    /// What was found and what was wanted, for people.
    pub detail: String,
    /// JSON pointer into the manifest, where the reason has a place there.
    pub pointer: Option<String>,
}

impl Refusal {
    /// A reason without a place in the manifest.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), pointer: None }
    }

    /// A reason at a field of the manifest.
    pub fn at(code: Code, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), pointer: Some(pointer.into()) }
    }

    /// `malformed`.
    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(Code::Malformed, detail)
    }

    pub(crate) fn of_issue(issue: Issue) -> Self {
        Self::at(Code::Malformed, issue.pointer, issue.message)
    }
}

impl Coded for Refusal {
    fn code(&self) -> Code {
        self.code
    }
}

/// Sorts so that the reason that explains the others comes first, drops repeats, and bounds the list.
pub(crate) fn tidy(mut refusals: Vec<Refusal>) -> Vec<Refusal> {
    let mut seen = Vec::new();
    refusals.retain(|refusal| {
        let fresh = !seen.contains(refusal);
        if fresh && seen.len() < REFUSALS_MAX {
            seen.push(refusal.clone());
        }
        fresh
    });
    refusals.sort_by_key(|refusal| rank(refusal.code));
    refusals.truncate(REFUSALS_MAX);
    refusals
}

/// Broken bytes explain a missing signature, a revoked key explains a missed threshold, and so on.
fn rank(code: Code) -> usize {
    const ORDER: [Code; 15] = [
        Code::TooLarge,
        Code::Malformed,
        Code::DigestMismatch,
        Code::BadSignature,
        Code::Revoked,
        Code::Unsigned,
        Code::UnknownSigner,
        Code::Expired,
        Code::ForbiddenImport,
        Code::IncompatibleContract,
        Code::ManifestMismatch,
        Code::ThresholdNotMet,
        Code::VersionOutOfRange,
        Code::Downgrade,
        Code::CapabilityOverCeiling,
    ];
    ORDER.iter().position(|other| *other == code).unwrap_or(ORDER.len())
}

/// What a person reads of hostile text: one line, printable, at most 120 characters.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(120).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().nth(120).is_some() {
        shown.push('…');
    }
    shown
}
