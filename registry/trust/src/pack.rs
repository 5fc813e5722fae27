//! Makes an artifact: the component, then our sections. The same input gives the same bytes.
//! It builds, strips and signs nothing; signing comes after, over the whole file.

use bulkhead_model::Manifest;

use crate::artifact;
use crate::files::Files;
use crate::lint::{self, Severity};
use crate::refusal::{Refusal, tidy};
use crate::sections::{Section, append};
use crate::structure::StructuralLimits;

/// Packs a component. What comes out passes [`artifact::read`] with `limits`; errors of the lint refuse it.
/// `manifest` may be the author's form: keys that only the author's machine understands are left out.
pub fn pack(
    component: &[u8],
    manifest: &Manifest,
    migrations: &Files,
    assets: &Files,
    sbom: Option<&[u8]>,
    limits: &StructuralLimits,
) -> Result<Vec<u8>, Vec<Refusal>> {
    let findings = lint::lint(component, manifest, migrations, assets, sbom);
    let errors = findings.into_iter().filter(|finding| finding.severity == Severity::Error);
    let refusals: Vec<Refusal> = errors.map(|finding| Refusal::malformed(finding.to_string())).collect();
    if !refusals.is_empty() {
        return Err(tidy(refusals));
    }
    let mut bytes = component.to_vec();
    append(&mut bytes, Section::Manifest, &manifest.for_artifact().to_json());
    for (section, files) in [(Section::Migrations, migrations), (Section::Assets, assets)] {
        if !files.is_empty() {
            append(&mut bytes, section, &files.encode());
        }
    }
    if let Some(sbom) = sbom {
        append(&mut bytes, Section::Sbom, sbom);
    }
    artifact::read(&bytes, limits)?;
    Ok(bytes)
}
