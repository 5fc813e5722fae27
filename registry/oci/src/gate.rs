//! The gate of releases: where a version stands, and what it takes to move on. A push is looked at as a whole before it is
//! stored; what waits is seen by those who may change that, and by nobody else.
//! Whether the policy lets a version pass, the host says.

use std::fmt;

use bulkhead_database::registry::{JudgedRow, ReleaseRow};
use bulkhead_database::{Act, Error as DatabaseError, Tx};
use bulkhead_model::Actor;
use serde::{Deserialize, Serialize};

use crate::access::{Caller, Scope};
use crate::error::Error;
use crate::name::RepositoryName;
use crate::namespaces::Kind;
use crate::registry::{Registry, Repository};

/// Versions that are judged again in one read.
const PAGE: u32 = 100;
/// Pages of one round.
const PAGES_MAX: u32 = 10_000;

/// Where a version stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is offered. It stays so whatever the policy wants of later ones.
    Released,
    /// Its author's signatures are missing, or the policy names it nowhere.
    PendingSignatures,
    /// Its author signed; a reviewer has not yet.
    PendingReview,
    /// The policy forbids it whoever signs, or a reviewer turned it down.
    Rejected,
    /// A revocation hits it.
    Revoked,
}

impl State {
    const ALL: [Self; 5] =
        [Self::Released, Self::PendingSignatures, Self::PendingReview, Self::Rejected, Self::Revoked];

    /// The state as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::PendingSignatures => "pending-signatures",
            Self::PendingReview => "pending-review",
            Self::Rejected => "rejected",
            Self::Revoked => "revoked",
        }
    }

    /// The state of this text.
    pub fn find(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether its tag leads to it, for those who see it at all.
    pub(crate) const fn has_tag(self) -> bool {
        match self {
            Self::Released | Self::PendingSignatures | Self::PendingReview => true,
            Self::Rejected | Self::Revoked => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a version is not released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The code of the reason, such as `unsigned`.
    pub code: String,
    /// The reason for a person.
    pub detail: String,
}

/// What the host says of a version and its signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgment {
    /// Where it may stand.
    pub state: State,
    /// What is against it, or still missing.
    pub reasons: Vec<Reason>,
    /// Whether what is pushed now is refused: it was revoked, or signatures contradict what they sign.
    pub is_final: bool,
}

/// What is judged.
#[derive(Clone, Copy, Debug)]
pub struct Submission<'a> {
    /// What the host noted of the artifact when it was pushed.
    pub judged_by: &'a str,
    /// Digest of the artifact.
    pub artifact_digest: &'a str,
    /// Signature bundles that speak for it.
    pub bundles: &'a [Vec<u8>],
}

/// What a caller sees of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// All of it.
    All,
    /// What is released, and what signs it.
    Released,
}

impl Sight {
    /// In a namespace of plugins, who may only pull sees what is released.
    pub(crate) fn of(caller: &Caller, name: &RepositoryName, kind: Kind) -> Self {
        const OF_OWNERS: [Scope; 3] = [Scope::Push, Scope::Sign, Scope::Yank];
        match (kind, caller) {
            (Kind::Open, _) => Self::All,
            (Kind::Plugin, Caller::Token(token)) if OF_OWNERS.iter().any(|scope| token.allows(*scope, name)) => {
                Self::All
            }
            (Kind::Plugin, Caller::Token(_) | Caller::Anonymous) => Self::Released,
        }
    }

    /// Whether what belongs to versions that stand so is shown. What was revoked is refused by name, and not denied to exist.
    pub(crate) fn allows(self, states: &[String]) -> Result<bool, Error> {
        let has = |wanted: State| states.iter().any(|state| state == wanted.as_str());
        if self == Self::All || has(State::Released) {
            return Ok(true);
        }
        if has(State::Revoked) {
            let code = State::Revoked.as_str().to_owned();
            let detail = "the version was revoked and is no longer handed out".to_owned();
            return Err(Error::Barred { reasons: vec![Reason { code, detail }] });
        }
        Ok(false)
    }
}

/// Where a version stands by its row, and why.
pub(crate) fn standing(row: &ReleaseRow) -> Result<(State, Vec<Reason>), Error> {
    let state = State::find(&row.state).ok_or(DatabaseError::Corrupt { column: "state" })?;
    let reasons = serde_json::from_str(&row.reasons).map_err(|_| DatabaseError::Corrupt { column: "reasons" })?;
    Ok((state, reasons))
}

/// Reasons as they are stored.
pub(crate) fn reasons_text(reasons: &[Reason]) -> String {
    serde_json::to_string(reasons).unwrap_or_else(|error| unreachable!("reasons are texts: {error}"))
}

/// What the owner of a version that is stored and not released is told.
pub(crate) fn warning(version: &str, judgment: &Judgment) -> Option<String> {
    if judgment.state == State::Released {
        return None;
    }
    let reasons: Vec<String> =
        judgment.reasons.iter().map(|reason| format!("{}: {}", reason.code, reason.detail)).collect();
    Some(format!("version {version} is {}, and shown to nobody else: {}", judgment.state, reasons.join("; ")))
}

impl Registry {
    pub(crate) fn judge(&self, submission: &Submission<'_>) -> Judgment {
        (self.config.checks.judge)(submission)
    }

    /// Judges every version again by the policy as it is by now: what waited may be released, what was released may be
    /// revoked. Any number of hosts may do it at once. Answers how many moved.
    pub async fn judge_again(&self) -> Result<u64, Error> {
        let (mut repository, mut version, mut moved) = (String::new(), String::new(), 0_u64);
        for _ in 0..PAGES_MAX {
            let rows = self.db.list_judged((&repository, &version), PAGE).await?;
            let Some(last) = rows.last() else { break };
            (repository, version) = (last.repository.clone(), last.version.clone());
            for row in &rows {
                moved = moved.saturating_add(u64::from(self.judge_row(row).await?));
            }
        }
        Ok(moved)
    }

    async fn judge_row(&self, judged: &JudgedRow) -> Result<bool, Error> {
        let Ok(name) = judged.repository.parse::<RepositoryName>() else { return Ok(false) };
        let bundles = self.bundles(&name, &judged.artifact_digest).await?;
        let submission =
            Submission { judged_by: &judged.judged_by, artifact_digest: &judged.artifact_digest, bundles: &bundles };
        let judgment = self.judge(&submission);
        // Most stay where they are: those cost no write.
        let now = self.db.find_version(&judged.repository, &judged.version).await?;
        let Some(row) = now.filter(|row| row.state == judged.state) else { return Ok(false) };
        if step(&row, &judgment)?.is_none() {
            return Ok(false);
        }
        let act = Act::new(&Actor::system(), self.now());
        let mut tx = self.db.begin().await?;
        let moved = self.advance(&mut tx, &row, &judgment, &act).await?;
        tx.commit().await?;
        Ok(moved)
    }

    /// Moves a version to where a judgment lets it stand; says whether it moved.
    pub(crate) async fn advance(
        &self,
        tx: &mut Tx,
        row: &ReleaseRow,
        judgment: &Judgment,
        act: &Act,
    ) -> Result<bool, Error> {
        let Some((to, reasons)) = step(row, judgment)? else { return Ok(false) };
        let moved = tx.set_release_state(row, to.as_str(), &reasons, to == State::Released, to.has_tag(), act).await?;
        Ok(moved && to.as_str() != row.state)
    }
}

/// The state and the reasons that a version gets by a judgment; none where it keeps what it has.
fn step(row: &ReleaseRow, judgment: &Judgment) -> Result<Option<(State, String)>, Error> {
    let (from, _) = standing(row)?;
    let to = next(from, judgment.state, row.released_at.is_some());
    let reasons = if to == State::Released { "[]".to_owned() } else { reasons_text(&judgment.reasons) };
    let is_settled = to == from && (from == State::Released || reasons == row.reasons);
    Ok(if is_settled { None } else { Some((to, reasons)) })
}

/// Where a version goes from `from`, if by the policy it may stand at `judged`.
fn next(from: State, judged: State, was_released: bool) -> State {
    match (from, judged) {
        // What was offered stays so, but for a revocation; and is again when that is taken back.
        (State::Released, State::Revoked) => State::Revoked,
        (State::Released, _) => State::Released,
        (State::Revoked, State::Revoked) => State::Revoked,
        (State::Revoked, _) if was_released => State::Released,
        (State::Revoked | State::Rejected | State::PendingSignatures | State::PendingReview, judged) => judged,
    }
}

/// Refuses what is pushed for reasons that nothing mends.
pub(crate) fn refuse(judgment: Judgment) -> Result<Judgment, Error> {
    if judgment.is_final { Err(Error::Barred { reasons: judgment.reasons }) } else { Ok(judgment) }
}

impl Repository {
    /// Whether the caller sees what is not released as well.
    pub(crate) fn sees_all(&self) -> bool {
        self.sight == Sight::All
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_moves_by_the_policys_word_and_never_back_into_waiting() {
        let check = |from: State, judged: State, was_released: bool, wanted: State| {
            assert_eq!(next(from, judged, was_released), wanted, "{from} {judged} {was_released}");
        };

        check(State::PendingSignatures, State::Released, false, State::Released);
        check(State::PendingSignatures, State::PendingReview, false, State::PendingReview);
        check(State::PendingReview, State::Rejected, false, State::Rejected);
        check(State::PendingReview, State::Revoked, false, State::Revoked);
        check(State::Released, State::PendingSignatures, true, State::Released);
        check(State::Released, State::Rejected, true, State::Released);
        check(State::Released, State::Revoked, true, State::Revoked);
        check(State::Revoked, State::PendingSignatures, true, State::Released);
        check(State::Revoked, State::PendingSignatures, false, State::PendingSignatures);
        check(State::Rejected, State::Released, false, State::Released);
    }

    #[test]
    fn every_state_reads_back_what_it_writes() {
        for state in State::ALL {
            assert_eq!(State::find(state.as_str()), Some(state));
        }
        assert_eq!(State::find("validated"), None);
    }
}
