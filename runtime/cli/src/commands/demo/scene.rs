//! The language that the story is told in: scenes of steps, each a real request and the answer that
//! must come. It knows no host and no order of events.

use reqwest::Method;
use serde_json::Value;

/// A part of the story.
#[derive(Debug)]
pub(super) struct Scene {
    /// What it shows, as a sentence.
    pub(super) title: &'static str,
    /// What happens.
    pub(super) steps: Vec<Step>,
}

impl Scene {
    /// A scene of these steps.
    pub(super) fn new(title: &'static str, steps: impl Into<Vec<Step>>) -> Self {
        Self { title, steps: steps.into() }
    }
}

/// Who acts. Each has a token of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Actor {
    /// Runs the host: plugins and tenants.
    Operator,
    /// Decides who may ship what.
    Security,
    /// The application of the first tenant, which dispatches hooks.
    AcmeApp,
    /// The application of the second.
    GlobexApp,
    /// A user of the first tenant with every permission.
    Ada,
    /// A user of the second tenant with every permission.
    Gus,
    /// A user of the first tenant without any.
    Eve,
}

/// A plugin of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guest {
    /// Greets.
    Hello,
    /// Keeps notes.
    Notes,
    /// Never returns.
    Hostile,
}

/// What is sent.
#[derive(Debug)]
pub(super) enum Sent {
    /// A request with a JSON body, or none.
    Request {
        /// Its method.
        method: Method,
        /// Its path and query.
        path: String,
        /// Its body.
        body: Option<Value>,
    },
    /// An artifact with its signature.
    Signed(Guest),
    /// An artifact without one.
    Unsigned(Guest),
    /// An artifact with its signature, one bit of it flipped.
    Flipped(Guest),
    /// The signed policy of the demo.
    Policy,
}

/// One request and the answer that must come.
#[derive(Debug)]
pub(super) struct Step {
    /// Who sends it.
    pub(super) actor: Actor,
    /// What is sent.
    pub(super) sent: Sent,
    /// The status that must come.
    pub(super) status: u16,
    /// Fields of the answer that must have these values, by JSON pointer.
    pub(super) fields: Vec<(&'static str, Value)>,
    /// Whether the answer is an operation that must succeed.
    pub(super) is_operation: bool,
    /// What goes on meanwhile, again and again, undisturbed.
    pub(super) meanwhile: Option<Box<Step>>,
}

impl Step {
    fn new(actor: Actor, sent: Sent) -> Self {
        Self { actor, sent, status: 200, fields: Vec::new(), is_operation: false, meanwhile: None }
    }

    /// `GET`.
    pub(super) fn get(actor: Actor, path: &str) -> Self {
        Self::new(actor, Sent::Request { method: Method::GET, path: path.to_owned(), body: None })
    }

    /// `POST` of JSON.
    pub(super) fn post(actor: Actor, path: &str, body: Value) -> Self {
        Self::new(actor, Sent::Request { method: Method::POST, path: path.to_owned(), body: Some(body) })
    }

    /// `PUT` of JSON.
    pub(super) fn put(actor: Actor, path: &str, body: Value) -> Self {
        Self::new(actor, Sent::Request { method: Method::PUT, path: path.to_owned(), body: Some(body) })
    }

    /// Something that is no plain JSON.
    pub(super) fn send(actor: Actor, sent: Sent) -> Self {
        Self::new(actor, sent)
    }

    /// The status that must come, where it is not 200.
    pub(super) fn answers(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// A field of the answer that must have this value.
    pub(super) fn with(mut self, pointer: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((pointer, value.into()));
        self
    }

    /// The refusal that must come.
    pub(super) fn refused(self, status: u16, code: &'static str) -> Self {
        self.answers(status).with("/code", code)
    }

    /// The answer is an operation; it is followed and must succeed.
    pub(super) fn followed(mut self) -> Self {
        self.status = 202;
        self.is_operation = true;
        self
    }

    /// Another step that is done again and again meanwhile, and must come out the same each time.
    pub(super) fn while_others(mut self, other: Self) -> Self {
        self.meanwhile = Some(Box::new(other));
        self
    }
}
