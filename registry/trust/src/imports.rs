//! What a component imports: the fixed table of what is inert, what needs a grant, and nothing else.
//! It grants nothing and links nothing; only names of this table ever link.

use std::collections::BTreeSet;

use bulkhead_model::{CONTRACT_VERSION, Code, Digest, Interface, capability};

use crate::refusal::{Refusal, shown};

/// WASI 0.2 interfaces without authority: empty arguments and environment, no folder, captured output.
pub const INERT: [&str; 22] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    // Types alone, shared by interfaces of ours.
    "bulkhead:plugin/storage-types",
    "bulkhead:plugin/types",
];

/// The imports of a component, each of them allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imports {
    names: BTreeSet<String>,
    interfaces: BTreeSet<Interface>,
}

impl Imports {
    /// Classifies the import names of a component: the allowed ones, and a refusal for each that never links.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> (Self, Vec<Refusal>) {
        let (mut imports, mut refusals) = (Self::default(), Vec::new());
        for name in names {
            match classify(name) {
                Ok(interface) => {
                    imports.names.insert(name.to_owned());
                    imports.interfaces.extend(interface);
                }
                Err(refusal) => refusals.push(refusal),
            }
        }
        (imports, refusals)
    }

    /// Every name, as the component spells it, sorted by bytes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The interfaces of ours among them.
    pub const fn interfaces(&self) -> &BTreeSet<Interface> {
        &self.interfaces
    }

    /// SHA-256 over the names, sorted by bytes, each followed by a line feed: signers vouch for it.
    pub fn digest(&self) -> Digest {
        let text: String = self.names.iter().flat_map(|name| [name.as_str(), "\n"]).collect();
        Digest::of(text.as_bytes())
    }
}

/// The interface of ours that `name` imports, `None` for an inert one, or why it never links.
pub fn classify(name: &str) -> Result<Option<Interface>, Refusal> {
    let (path, version) = name.split_once('@').unwrap_or((name, ""));
    let Some(interface) = path.strip_prefix(capability::PACKAGE).and_then(|rest| rest.strip_prefix('/')) else {
        return if INERT.contains(&path) && is_wasi_0_2(version) { Ok(None) } else { Err(forbidden(name)) };
    };
    check_contract(name, version)?;
    if INERT.contains(&path) {
        return Ok(None);
    }
    match interface.parse::<Interface>() {
        Ok(interface) if Interface::SERVED.contains(&interface) => Ok(Some(interface)),
        Ok(_) => Err(incompatible(format!("this host does not serve `{name}` yet"))),
        Err(_) => Err(incompatible(format!("`{}` is no interface of this contract", shown(name)))),
    }
}

/// Refuses a name of our package whose version is not `^0.1`.
pub(crate) fn check_contract(name: &str, version: &str) -> Result<(), Refusal> {
    let same_track = semver::Version::parse(version).is_ok_and(|version| {
        (version.major, version.minor) == (CONTRACT_VERSION.major, CONTRACT_VERSION.minor)
            && version.pre.is_empty()
            && version.build.is_empty()
    });
    if same_track {
        return Ok(());
    }
    let name = shown(name);
    Err(incompatible(format!(
        "`{name}` is not of version ^{}.{} of the contract",
        CONTRACT_VERSION.major, CONTRACT_VERSION.minor
    )))
}

fn is_wasi_0_2(version: &str) -> bool {
    semver::Version::parse(version).is_ok_and(|version| {
        (version.major, version.minor) == (0, 2) && version.pre.is_empty() && version.build.is_empty()
    })
}

fn forbidden(name: &str) -> Refusal {
    Refusal::new(Code::ForbiddenImport, format!("`{}` never links", shown(name)))
}

fn incompatible(detail: String) -> Refusal {
    Refusal::new(Code::IncompatibleContract, detail)
}
