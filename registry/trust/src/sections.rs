//! The plugin's own sections at the end of the component: names, order, sizes, how they are appended.
//! It does not parse their content; `artifact` does.

use bulkhead_model::Code;

use crate::refusal::{Refusal, shown};

/// Every name with this beginning is reserved, in capitals as well: a reader must not take another section for ours.
pub const PREFIX: &str = "bulkhead:";

/// A section of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Section {
    /// The manifest as JSON; required.
    Manifest,
    /// Migration files.
    Migrations,
    /// Pages, locales, schemas, OpenAPI, WIT.
    Assets,
    /// Bill of materials in `CycloneDX` JSON.
    Sbom,
}

impl Section {
    /// Every section, in the one order that is accepted.
    pub const ALL: [Self; 4] = [Self::Manifest, Self::Migrations, Self::Assets, Self::Sbom];

    /// Name of the custom section.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "bulkhead:manifest",
            Self::Migrations => "bulkhead:migrations",
            Self::Assets => "bulkhead:assets",
            Self::Sbom => "bulkhead:sbom",
        }
    }

    /// Most bytes of its content.
    pub const fn bytes_max(self) -> usize {
        match self {
            Self::Manifest => bulkhead_model::manifest::MANIFEST_BYTES_MAX,
            Self::Migrations | Self::Sbom => 1 << 20,
            Self::Assets => 8 << 20,
        }
    }

    /// Refuses content that is too large.
    pub(crate) fn check_size(self, bytes: &[u8]) -> Result<(), Refusal> {
        if bytes.len() <= self.bytes_max() {
            return Ok(());
        }
        let (name, most) = (self.as_str(), self.bytes_max());
        Err(Refusal::new(
            Code::TooLarge,
            format!("section `{name}` has {} bytes, at most {most} are allowed", bytes.len()),
        ))
    }
}

/// The sections found so far, while the file is read from front to back.
#[derive(Debug, Default)]
pub(crate) struct Sections<'a> {
    found: Vec<(Section, &'a [u8])>,
}

impl<'a> Sections<'a> {
    /// Takes note of a custom section at `depth`.
    pub(crate) fn custom(&mut self, depth: usize, name: &str, bytes: &'a [u8]) -> Result<(), Refusal> {
        if !is_reserved(name) {
            return if depth == 0 { self.other() } else { Ok(()) };
        }
        let shown = shown(name);
        if depth > 0 {
            return Err(Refusal::malformed(format!("section `{shown}` inside a nested module or component")));
        }
        let Some(section) = Section::ALL.into_iter().find(|section| section.as_str() == name) else {
            return Err(Refusal::malformed(format!(
                "section `{shown}` is not known; names that begin with `{PREFIX}` are reserved"
            )));
        };
        match self.found.last() {
            Some((last, _)) if *last == section => {
                return Err(Refusal::malformed(format!("section `{shown}` is there twice")));
            }
            Some((last, _)) if *last > section => {
                return Err(Refusal::malformed(format!(
                    "section `{shown}` after `{}`: out of order or there twice",
                    last.as_str()
                )));
            }
            Some(_) | None => {}
        }
        self.found.push((section, bytes));
        section.check_size(bytes)
    }

    /// Takes note of any other section at depth 0: none may follow ours.
    pub(crate) fn other(&self) -> Result<(), Refusal> {
        match self.found.last() {
            None => Ok(()),
            Some((last, _)) => {
                Err(Refusal::malformed(format!("more of the component after section `{}`", last.as_str())))
            }
        }
    }

    /// Content of a section.
    pub(crate) fn find(&self, section: Section) -> Option<&'a [u8]> {
        self.found.iter().find_map(|(found, bytes)| (*found == section).then_some(*bytes))
    }

    /// Whether there is any.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }
}

fn is_reserved(name: &str) -> bool {
    name.get(..PREFIX.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(PREFIX))
}

/// Appends a custom section to a component.
pub(crate) fn append(component: &mut Vec<u8>, section: Section, content: &[u8]) {
    let name = section.as_str().as_bytes();
    let mut body = Vec::with_capacity(content.len().saturating_add(name.len()).saturating_add(2));
    leb128(&mut body, name.len());
    body.extend_from_slice(name);
    body.extend_from_slice(content);
    component.push(0);
    leb128(component, body.len());
    component.extend_from_slice(&body);
}

fn leb128(bytes: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}
