//! Reads an artifact: everything that can be said of the bytes alone, cheap checks first.
//! It knows no signature, no policy and no earlier release; `admit` does.

use bulkhead_model::object::{Object, Walked};
use bulkhead_model::{Code, Digest, Manifest};
use wasmparser::Validator;

use crate::agreement;
use crate::exports::Exports;
use crate::files::Files;
use crate::imports::Imports;
use crate::migrations::{self, Migration};
use crate::refusal::{Refusal, shown, tidy};
use crate::sections::Section;
use crate::structure::{FEATURES, Scan, StructuralLimits, Structure, invalid, scan};

/// A well-formed artifact. It says nothing of who may run it.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// SHA-256 of the whole file: the release's identity.
    pub digest: Digest,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// The manifest.
    pub manifest: Manifest,
    /// The manifest's bytes as they stand in the file.
    pub manifest_json: Vec<u8>,
    /// Migration files.
    pub migrations: Files,
    /// Pages, locales, schemas, OpenAPI, WIT.
    pub assets: Files,
    /// Bill of materials in `CycloneDX` JSON, or empty.
    pub sbom: Vec<u8>,
    /// What the component imports, each allowed.
    pub imports: Imports,
    /// What it exports.
    pub exports: Exports,
    /// Digest of the import names.
    pub imports_digest: Digest,
    /// Sizes and counts.
    pub structure: Structure,
}

impl Artifact {
    /// The migration files as steps, in order.
    pub fn migration_steps(&self) -> Vec<Migration> {
        migrations::read(&self.migrations).unwrap_or_default()
    }
}

/// Reads `bytes`; the answer is an artifact or every reason why they are none. The work is linear in the length,
/// which `limits` bounds.
pub fn read(bytes: &[u8], limits: &StructuralLimits) -> Result<Artifact, Vec<Refusal>> {
    let scan = scan(bytes, limits);
    let mut refusals = scan.refusals.clone();
    // A file that could not be read to its end has no sections, imports or exports to speak of.
    if !refusals.is_empty() {
        return Err(tidy(refusals));
    }
    let (imports, found) = Imports::of(instances(&scan.imports, &mut refusals));
    refusals.extend(found);
    let (exports, found) = Exports::of(scan.exports.iter().map(|(name, _)| *name));
    refusals.extend(found);
    refusals.extend(Validator::new_with_features(FEATURES).validate_all(bytes).err().map(|error| invalid(&error)));
    let manifest = keep(read_manifest(&scan), &mut refusals);
    let migrations = keep(read_files(&scan, Section::Migrations), &mut refusals);
    let assets = keep(read_files(&scan, Section::Assets), &mut refusals);
    let sbom = keep(read_sbom(&scan), &mut refusals);
    if let Some(manifest) = &manifest {
        refusals.extend(agreement::with_component(manifest, &imports, &exports));
    }
    if let (Some(manifest), Some(migrations), Some(assets)) = (&manifest, &migrations, &assets) {
        refusals.extend(agreement::with_files(manifest, migrations, assets));
    }
    match (manifest, migrations, assets, sbom) {
        (Some(manifest), Some(migrations), Some(assets), Some(sbom)) if refusals.is_empty() => Ok(Artifact {
            digest: Digest::of(bytes),
            size_bytes: scan.structure.file_bytes,
            manifest,
            manifest_json: scan.sections.find(Section::Manifest).unwrap_or_default().to_vec(),
            migrations,
            assets,
            sbom,
            imports_digest: imports.digest(),
            imports,
            exports,
            structure: scan.structure,
        }),
        _ => Err(tidy(refusals)),
    }
}

/// The value, or its reasons among the others.
fn keep<T>(read: Result<T, Vec<Refusal>>, refusals: &mut Vec<Refusal>) -> Option<T> {
    read.map_err(|found| refusals.extend(found)).ok()
}

/// The names that import an instance; a function, type or component under any name never links.
fn instances<'a>(imports: &[(&'a str, bool)], refusals: &mut Vec<Refusal>) -> Vec<&'a str> {
    let mut names = Vec::new();
    for (name, instance) in imports {
        if *instance {
            names.push(*name);
        } else {
            let detail = format!("`{}` is imported as something else than an interface", shown(name));
            refusals.push(Refusal::new(Code::ForbiddenImport, detail));
        }
    }
    names
}

fn read_files(scan: &Scan<'_>, section: Section) -> Result<Files, Vec<Refusal>> {
    let Some(bytes) = scan.sections.find(section) else { return Ok(Files::new()) };
    let named = |refusal: Refusal| Refusal { detail: format!("{}: {}", section.as_str(), refusal.detail), ..refusal };
    let files = Files::decode(bytes).map_err(|found| found.into_iter().map(named).collect::<Vec<_>>())?;
    if section == Section::Migrations {
        migrations::read(&files)?;
    }
    Ok(files)
}

fn read_sbom(scan: &Scan<'_>) -> Result<Vec<u8>, Vec<Refusal>> {
    let Some(bytes) = scan.sections.find(Section::Sbom) else { return Ok(Vec::new()) };
    match serde_json::from_slice::<Object<Walked>>(bytes) {
        Ok(_) => Ok(bytes.to_vec()),
        Err(error) => Err(vec![Refusal::malformed(format!("bulkhead:sbom: not JSON: {error}"))]),
    }
}

fn read_manifest(scan: &Scan<'_>) -> Result<Manifest, Vec<Refusal>> {
    let Some(json) = scan.sections.find(Section::Manifest) else {
        let hint = if scan.sections.is_empty() {
            "; pack it with `bulkhead pack`, after `strip`, which removes it"
        } else {
            ""
        };
        return Err(vec![Refusal::malformed(format!("there is no section `bulkhead:manifest`{hint}"))]);
    };
    let manifest =
        Manifest::parse_json(json).map_err(|issues| issues.into_iter().map(Refusal::of_issue).collect::<Vec<_>>())?;
    if manifest.for_artifact() != manifest {
        let detail = "`component` and the `path` keys belong to `plugin.toml`, not into an artifact";
        return Err(vec![Refusal::malformed(detail)]);
    }
    Ok(manifest)
}
