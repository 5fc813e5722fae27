//! Decides whether bytes may become a plugin: artifact format, signatures, signer policy, import classes.
//! Bytes, a policy and the time go in, a verdict comes out: no file, network, SQL, engine, clock or `async`.

pub mod admit;
pub mod agreement;
pub mod artifact;
pub mod bundle;
pub mod capabilities;
pub mod dsse;
mod envelope;
pub mod exports;
pub mod facts;
pub mod files;
pub mod functions;
pub mod imports;
pub mod key;
pub mod lint;
pub mod log;
pub mod migrations;
pub mod pack;
pub mod policy;
pub mod refusal;
mod secrets;
pub mod sections;
pub mod statement;
pub mod structure;
pub mod surface;

pub use admit::{State, Verdict, admit, evaluate};
pub use artifact::Artifact;
pub use bundle::Bundle;
pub use capabilities::{Capabilities, CapabilityDiff};
pub use facts::Facts;
pub use files::{File, Files};
pub use key::{SigningKey, VerifyingKey};

pub use pack::pack;
pub use policy::Policy;
pub use policy::roots::Roots;
pub use refusal::Refusal;
pub use statement::{ReleaseStatement, Review, Role};
pub use structure::{StructuralLimits, Structure};
