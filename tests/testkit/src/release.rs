//! From a component and a manifest to an artifact and its signatures.
//! What a host makes of them is the test's question.

use bulkhead_model::{Manifest, Version};
use bulkhead_trust::statement::Decision;
use bulkhead_trust::{Files, ReleaseStatement, Review, StructuralLimits, bundle, pack};

use crate::keys::Key;

/// What an author has before packing.
#[derive(Clone, Debug)]
pub struct Source {
    /// The manifest; every field can be changed.
    pub manifest: Manifest,
    /// The component.
    pub component: Vec<u8>,
    /// Migrations.
    pub migrations: Files,
    /// Assets.
    pub assets: Files,
}

impl Source {
    /// Under another id.
    pub fn id(mut self, id: &str) -> Self {
        self.manifest.plugin.id = id.parse().expect("a plugin id");
        self
    }

    /// In another version.
    pub fn version(mut self, version: &str) -> Self {
        self.manifest.plugin.version = version.parse().expect("a version");
        self
    }

    /// With a changed manifest.
    pub fn edit(mut self, change: impl FnOnce(&mut Manifest)) -> Self {
        change(&mut self.manifest);
        self
    }

    /// The artifact.
    pub fn pack(&self) -> Release {
        let packed =
            pack(&self.component, &self.manifest, &self.migrations, &self.assets, None, &StructuralLimits::MAX);
        Release {
            id: self.manifest.plugin.id.to_string(),
            version: self.manifest.plugin.version.to_string(),
            bytes: packed.unwrap_or_else(|refusals| panic!("the guest cannot be packed: {refusals:#?}")),
            bundles: Vec::new(),
        }
    }

    /// The artifact with an author's signature.
    pub fn signed_by(&self, author: Key) -> Release {
        self.pack().signed_by(author)
    }
}

/// An artifact and the bundles beside it.
#[derive(Clone, Debug)]
pub struct Release {
    /// The plugin's id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The artifact.
    pub bytes: Vec<u8>,
    /// The signatures.
    pub bundles: Vec<String>,
}

impl Release {
    /// With an author's signature more.
    pub fn signed_by(mut self, author: Key) -> Self {
        self.bundles.push(bundle::sign(&author.signing(), &self.statement()));
        self
    }

    /// With an author's signature over a statement that the test changes.
    pub fn signed_as(mut self, author: Key, change: impl FnOnce(&mut ReleaseStatement)) -> Self {
        let mut statement = self.statement();
        change(&mut statement);
        self.bundles.push(bundle::sign(&author.signing(), &statement));
        self
    }

    /// With a reviewer's signature more.
    pub fn reviewed_by(self, reviewer: Key) -> Self {
        self.decided_by(reviewer, Decision::Approve)
    }

    /// With the signature of a reviewer who turned it down.
    pub fn turned_down_by(self, reviewer: Key) -> Self {
        self.decided_by(reviewer, Decision::Reject)
    }

    fn decided_by(mut self, reviewer: Key, decision: Decision) -> Self {
        let review = Review {
            policy_version: 1,
            base_digest: None,
            capability_diff_digest: None,
            decision,
            reason: "looked at it".to_owned(),
        };
        let statement = ReleaseStatement { review: Some(review), ..self.statement() };
        self.bundles.push(bundle::sign(&reviewer.signing(), &statement));
        self
    }

    /// What an author says of this artifact: good from an hour ago, for a month.
    pub fn statement(&self) -> ReleaseStatement {
        let read = bulkhead_trust::artifact::read(&self.bytes, &StructuralLimits::MAX);
        let artifact = read.unwrap_or_else(|refusals| panic!("the artifact is not readable: {refusals:#?}"));
        let now = jiff::Timestamp::now();
        let hours = |count: i64| jiff::SignedDuration::from_hours(count);
        ReleaseStatement {
            sequence: sequence(&artifact.manifest.plugin.version),
            plugin: artifact.manifest.plugin.id,
            version: artifact.manifest.plugin.version,
            digest: artifact.digest,
            size_bytes: artifact.size_bytes,
            issued_at: now.checked_sub(hours(1)).expect("an hour ago"),
            not_after: now.checked_add(hours(30 * 24)).expect("in a month"),
            imports_digest: artifact.imports_digest,
            review: None,
        }
    }
}

/// Higher for a higher version.
fn sequence(version: &Version) -> u64 {
    let semver = version.semver();
    semver.major * 1_000_000 + semver.minor * 1_000 + semver.patch + 1
}
