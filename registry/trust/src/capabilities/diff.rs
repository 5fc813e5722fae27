//! Compares what two releases can do: each difference is wider, narrower or neither, and one verdict says whether authority was
//! added. The same two releases give the same bytes of JSON, whose digest a reviewer can sign.
//! What follows from it is a policy rule's to say.

use std::collections::BTreeSet;

use bulkhead_model::{Digest, PluginId, Version};
use serde::Serialize;

use super::{Area, Capabilities, Held};

/// Which way a difference goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// More, or something that cannot be compared in a place where more is authority.
    Wider,
    /// Less.
    Narrower,
    /// Different, and neither more nor less.
    Same,
}

impl Direction {
    /// The direction as JSON and people write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wider => "wider",
            Self::Narrower => "narrower",
            Self::Same => "same",
        }
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What it is about.
    pub area: Area,
    /// Name of the thing.
    pub name: String,
    /// What the older release says of it; `None` where it does not have it.
    pub before: Option<String>,
    /// What the newer one says.
    pub after: Option<String>,
    /// Which way it goes.
    pub direction: Direction,
}

impl Difference {
    /// Whether it adds authority.
    pub fn widens(&self) -> bool {
        self.direction == Direction::Wider && self.area.is_authority()
    }
}

/// A release that is compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// The plugin.
    pub plugin: PluginId,
    /// Its version.
    pub version: Version,
    /// The release.
    pub digest: Digest,
}

/// What a newer release has more, less and differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapabilityDiff {
    /// The older release.
    pub from: Compared,
    /// The newer one.
    pub to: Compared,
    /// Every difference, by area and name.
    pub differences: Vec<Difference>,
}

impl CapabilityDiff {
    /// Whether the newer release has authority that the older one has not.
    pub fn widens(&self) -> bool {
        self.differences.iter().any(Difference::widens)
    }

    /// The JSON form: fields in a fixed order, no white space.
    pub fn to_json(&self) -> Vec<u8> {
        let wire = Wire {
            from: &self.from,
            to: &self.to,
            widens: self.widens(),
            differences: self.differences.iter().map(WireDifference::of).collect(),
        };
        serde_json::to_vec(&wire).unwrap_or_else(|error| unreachable!("a difference holds only text: {error}"))
    }

    /// SHA-256 of [`CapabilityDiff::to_json`]: what a reviewer signs, or decides on.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_json())
    }
}

pub(super) fn between(older: &Capabilities, newer: &Capabilities) -> CapabilityDiff {
    let names: BTreeSet<_> = older.held.keys().chain(newer.held.keys()).collect();
    let differences = names.into_iter().filter_map(|key| {
        let (before, after) = (older.held.get(key), newer.held.get(key));
        let direction = direction(key.0, before, after)?;
        let text = |held: Option<&Held>| held.map(|held| held.text.clone());
        Some(Difference { area: key.0, name: key.1.clone(), before: text(before), after: text(after), direction })
    });
    let release =
        |of: &Capabilities| Compared { plugin: of.plugin.clone(), version: of.version.clone(), digest: of.digest };
    CapabilityDiff { from: release(older), to: release(newer), differences: differences.collect() }
}

/// Which way a thing went; `None` where nothing changed.
fn direction(area: Area, before: Option<&Held>, after: Option<&Held>) -> Option<Direction> {
    let changed = match (before, after) {
        (Some(before), Some(after)) if before == after => return None,
        (Some(before), Some(after)) => changed(area, before, after),
        (None, Some(_)) => Direction::Wider,
        (Some(_), None) => Direction::Narrower,
        (None, None) => return None,
    };
    // What reaches nothing reaches no more and no less.
    Some(if area == Area::InertImport { Direction::Same } else { changed })
}

fn changed(area: Area, before: &Held, after: &Held) -> Direction {
    if before.measures.is_empty() || before.measures.len() != after.measures.len() {
        // Nothing says which of the two is more: where it matters, the careful answer.
        return if area.is_authority() { Direction::Wider } else { Direction::Same };
    }
    let pairs = || before.measures.iter().zip(&after.measures).filter(|(before, after)| before != after);
    if pairs().any(|(before, after)| after.1 > before.0) {
        Direction::Wider
    } else if pairs().next().is_some() {
        Direction::Narrower
    } else {
        Direction::Same
    }
}

#[derive(Serialize)]
struct Wire<'a> {
    from: &'a Compared,
    to: &'a Compared,
    widens: bool,
    differences: Vec<WireDifference<'a>>,
}

#[derive(Serialize)]
struct WireDifference<'a> {
    area: &'static str,
    name: &'a str,
    before: Option<&'a str>,
    after: Option<&'a str>,
    direction: &'static str,
    widens: bool,
}

impl<'a> WireDifference<'a> {
    fn of(difference: &'a Difference) -> Self {
        Self {
            area: difference.area.as_str(),
            name: &difference.name,
            before: difference.before.as_deref(),
            after: difference.after.as_deref(),
            direction: difference.direction.as_str(),
            widens: difference.widens(),
        }
    }
}
