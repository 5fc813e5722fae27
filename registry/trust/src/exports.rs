//! What a component exports to the host: the extension points that this host calls.
//! It does not check the types behind a name; one trial instantiation does.

use std::collections::BTreeSet;

use bulkhead_model::{Code, capability};

use crate::imports::check_contract;
use crate::refusal::{Refusal, shown};

/// An extension point that this host calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ExtensionPoint {
    /// Filters and actions.
    Hooks,
    /// HTTP routes.
    Routes,
    /// Start and stop.
    Lifecycle,
    /// Health checks.
    Health,
}

impl ExtensionPoint {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Hooks, Self::Routes, Self::Lifecycle, Self::Health];

    /// Name of the interface in the WIT package.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hooks => "hooks",
            Self::Routes => "routes",
            Self::Lifecycle => "lifecycle",
            Self::Health => "health",
        }
    }
}

/// The exports of a component. Those of other packages are listed and never called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exports {
    names: BTreeSet<String>,
    points: BTreeSet<ExtensionPoint>,
}

impl Exports {
    /// Reads the export names of a component, with a refusal for each of ours that this host does not call.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> (Self, Vec<Refusal>) {
        let (mut exports, mut refusals) = (Self::default(), Vec::new());
        for name in names {
            exports.names.insert(name.to_owned());
            match classify(name) {
                Ok(point) => exports.points.extend(point),
                Err(refusal) => refusals.push(refusal),
            }
        }
        (exports, refusals)
    }

    /// Every name, as the component spells it, sorted by bytes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Whether the component exports this extension point.
    pub fn has(&self, point: ExtensionPoint) -> bool {
        self.points.contains(&point)
    }
}

fn classify(name: &str) -> Result<Option<ExtensionPoint>, Refusal> {
    let (path, version) = name.split_once('@').unwrap_or((name, ""));
    let Some(interface) = path.strip_prefix(capability::PACKAGE).and_then(|rest| rest.strip_prefix('/')) else {
        return Ok(None);
    };
    check_contract(name, version)?;
    if ["types", "storage-types"].contains(&interface) {
        return Ok(None);
    }
    match ExtensionPoint::ALL.into_iter().find(|point| point.as_str() == interface) {
        Some(point) => Ok(Some(point)),
        None => {
            let detail = format!("this host does not call an export `{}`", shown(name));
            Err(Refusal::new(Code::IncompatibleContract, detail))
        }
    }
}
