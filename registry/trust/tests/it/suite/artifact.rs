//! Hostile artifacts: components, sections and manifests that are not what they should be.
//! Signatures and policies have files of their own.

use bulkhead_model::Digest;
use bulkhead_trust::Refusal;
use serde::Deserialize;

use super::{Edit, edited, expanded, hex, run};
use crate::fixtures::{MANIFEST, artifact, component, crm, manifest, read, wat};

/// The manifest of a plugin that exports nothing.
const BARE: &str = "[plugin]\nid = \"acme.crm\"\nversion = \"1.2.0\"\nname = \"CRM\"\n";

/// A case. Without any change it is the good artifact of `fixtures`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// The component in text form; with it the manifest is one of a plugin that exports nothing.
    component: Option<String>,
    /// The component by its interfaces: `import sql` or `export routes`; the manifest likewise.
    #[serde(default)]
    world: Vec<String>,
    /// The whole file in hexadecimal.
    file: Option<String>,
    /// Edits of the manifest's JSON.
    #[serde(default)]
    manifest: Vec<Edit>,
    /// The sections behind the component, in the place of the manifest alone.
    sections: Option<Vec<Section>>,
    /// Edits of the finished file's bytes.
    #[serde(default)]
    bytes: Vec<Splice>,
    /// Every code of the refusal, each once, in the order of their rank; none: it is read.
    codes: Vec<String>,
    /// What one of the reasons says.
    #[serde(default)]
    says: String,
}

/// A custom section. Without content, `bulkhead:manifest` has the case's manifest.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    name: String,
    /// Its content as text; `MANIFEST` stands for the manifest.
    text: Option<String>,
    /// Its content in hexadecimal.
    hex: Option<String>,
    /// Its content as an index of files: the index in JSON, `SHA(x)` for the digest of `x`, and the bytes behind it.
    index: Option<(String, String)>,
    /// What is added to the index's length, or to the section's without an index.
    #[serde(default)]
    lie: i64,
    /// Bytes in which the section's length is written; the shortest form has as many as it needs.
    #[serde(default)]
    length_bytes: usize,
}

/// Replaces `cut` bytes at `at`, from the end if it is negative.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Splice {
    at: i64,
    #[serde(default)]
    cut: usize,
    #[serde(default)]
    hex: String,
}

#[test]
fn every_hostile_artifact_is_refused_for_its_reason() {
    run(include_str!("../../data/hostile/artifact.toml"), 165, |case: &Case| &case.name, check);

    assert!(read(&artifact()).is_ok(), "the good artifact is read afterwards");
}

fn check(case: &Case) -> Result<(), String> {
    let refusals = read(&made(case)).err().unwrap_or_default();
    let mut codes: Vec<&str> = refusals.iter().map(|refusal| refusal.code.as_str()).collect();
    codes.dedup();
    let says = |refusal: &Refusal| {
        refusal.detail.contains(&case.says) || refusal.pointer.as_deref() == Some(case.says.as_str())
    };
    let told = case.says.is_empty() || refusals.iter().any(says);
    if codes == case.codes && told {
        Ok(())
    } else {
        Err(format!("wanted {:?} {:?}: {refusals:#?}", case.codes, case.says))
    }
}

fn made(case: &Case) -> Vec<u8> {
    if let Some(file) = &case.file {
        return hex(file);
    }
    let is_crm = case.component.is_none() && case.world.is_empty();
    let mut bytes = match &case.component {
        Some(text) => wat(&expanded(text)),
        None if is_crm => crm(),
        None => {
            let named = |verb: &str| case.world.iter().filter_map(|line| line.strip_prefix(verb)).collect::<Vec<_>>();
            component(&named("import "), &named("export "))
        }
    };
    let text = manifest(if is_crm { MANIFEST } else { BARE }).for_artifact().to_json();
    let json = edited(&String::from_utf8(text).unwrap(), &case.manifest);
    let only =
        [Section { name: "bulkhead:manifest".to_owned(), text: None, hex: None, index: None, lie: 0, length_bytes: 0 }];
    for section in case.sections.as_deref().unwrap_or(&only) {
        append(&mut bytes, section, &json);
    }
    for splice in &case.bytes {
        let length = i64::try_from(bytes.len()).unwrap();
        let at = usize::try_from(if splice.at < 0 { length + splice.at } else { splice.at }).unwrap();
        bytes.splice(at..at + splice.cut, hex(&splice.hex));
    }
    bytes
}

fn append(bytes: &mut Vec<u8>, section: &Section, manifest: &str) {
    let is_files = section.index.is_some();
    let content = match (&section.text, &section.hex, &section.index) {
        (Some(text), _, _) => expanded(text).replace("MANIFEST", manifest).into_bytes(),
        (_, Some(text), _) => hex(text),
        (_, _, Some((index, content))) => files(index, content, section.lie),
        (None, None, None) => manifest.as_bytes().to_vec(),
    };
    let mut body = leb(section.name.len(), 0);
    body.extend_from_slice(section.name.as_bytes());
    body.extend_from_slice(&content);
    let lie = if is_files { 0 } else { section.lie };
    bytes.push(0);
    bytes.extend_from_slice(&leb(
        usize::try_from(i64::try_from(body.len()).unwrap() + lie).unwrap(),
        section.length_bytes,
    ));
    bytes.extend_from_slice(&body);
}

fn files(index: &str, content: &str, lie: i64) -> Vec<u8> {
    let mut index = expanded(index);
    while let Some(start) = index.find("SHA(") {
        let end = start + index[start..].find(')').unwrap();
        let digest = Digest::of(&index.as_bytes()[start + 4..end]).hex();
        index.replace_range(start..=end, &digest);
    }
    let length = u32::try_from(i64::try_from(index.len()).unwrap() + lie).unwrap();
    [&length.to_le_bytes(), index.as_bytes(), expanded(content).as_bytes()].concat()
}

/// A number as LEB128, in at least so many bytes.
fn leb(mut value: usize, bytes_min: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        if value == 0 && bytes.len() + 1 >= bytes_min {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
