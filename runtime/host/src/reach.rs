//! What the code of a release may reach in a tenant: data, hosts, secrets, events, hooks, services, by which signatures and
//! which rule. Pure: what is enabled, and since when, is the record's to say.

use bulkhead_model::{Digest, Grants, Interface, Manifest, TrustLevel, Version};
use bulkhead_trust::Verdict;
use serde::{Deserialize, Serialize};

/// Port of an outbound host where the manifest names none.
const PORT_DEFAULT: u16 = 443;
/// Method of an outbound host where the manifest names none.
const METHOD_DEFAULT: &str = "GET";

/// What a release may reach, as it is kept: its text is stored under its own digest. Fields are added, never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReachSet {
    /// Version of the plugin.
    pub(crate) version: Version,
    /// Its release.
    pub(crate) digest: String,
    /// The rule of the policy that allows it; `dev` for an unsigned release in dev mode.
    pub(crate) rule: String,
    /// How far that rule trusts the signers.
    pub(crate) trust: TrustLevel,
    /// Whose signatures counted, in order; none for an unsigned release in dev mode.
    pub(crate) signers: Vec<Signed>,
    /// What is reached, in order, each once.
    pub(crate) reached: Vec<Reached>,
}

/// A signature that counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Signed {
    /// The principal.
    pub(crate) principal: String,
    /// Its key.
    pub(crate) key_id: String,
    /// `author` or `reviewer`.
    pub(crate) role: String,
}

/// Something that is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Reached {
    /// Of which kind.
    pub(crate) kind: Kind,
    /// Its name.
    pub(crate) name: String,
    /// In which way, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) access: Option<String>,
    /// Methods of requests to a host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) methods: Vec<String>,
    /// Ports of a host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) ports: Vec<u16>,
}

/// Kinds of what is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// What the plugin keeps in the tenant (`sql`, `kv`, `blob`), or a view that another plugin publishes there.
    Data,
    /// A host outside.
    Host,
    /// A secret of the tenant.
    Secret,
    /// A topic.
    Event,
    /// A hook whose payload the plugin sees.
    Hook,
    /// A service of another plugin.
    Service,
    /// Another interface of the host.
    Interface,
}

impl Kind {
    /// The kind as JSON and CSV write it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Host => "host",
            Self::Secret => "secret",
            Self::Event => "event",
            Self::Hook => "hook",
            Self::Service => "service",
            Self::Interface => "interface",
        }
    }
}

impl ReachSet {
    /// What `verdict` and the tenant's consent leave of what the manifest asks for.
    pub(crate) fn of(verdict: &Verdict, manifest: &Manifest, granted: &[Interface]) -> Self {
        let grants = verdict.grants.intersection(&Grants::of(granted.iter().copied()));
        let mut signers: Vec<_> = verdict
            .signers
            .iter()
            .map(|signer| Signed {
                principal: signer.principal.clone(),
                key_id: signer.key_id.to_string(),
                role: signer.role.as_str().to_owned(),
            })
            .collect();
        signers.sort_unstable();
        signers.dedup();
        Self {
            version: verdict.version.clone(),
            digest: verdict.digest.to_string(),
            rule: verdict.rule.clone(),
            trust: verdict.trust,
            signers,
            reached: reached(&grants, manifest),
        }
    }

    /// Its text, and the digest that names it.
    pub(crate) fn to_text(&self) -> (Digest, String) {
        let text = serde_json::to_string(self)
            .unwrap_or_else(|error| unreachable!("texts and numbers are always written: {error}"));
        (Digest::of(text.as_bytes()), text)
    }
}

fn reached(grants: &Grants, manifest: &Manifest) -> Vec<Reached> {
    let mut reached = data(grants, manifest);
    let asked = &manifest.capabilities;
    if grants.allows(Interface::Http) {
        reached.extend(asked.http.iter().map(|host| {
            let mut methods: Vec<_> = host.methods.iter().map(|method| method.as_str().to_owned()).collect();
            let mut ports = host.ports.clone();
            if methods.is_empty() {
                methods.push(METHOD_DEFAULT.to_owned());
            }
            if ports.is_empty() {
                ports.push(PORT_DEFAULT);
            }
            methods.sort_unstable();
            ports.sort_unstable();
            Reached { methods, ports, ..Reached::new(Kind::Host, &host.host) }
        }));
    }
    if grants.allows(Interface::Secrets) {
        reached.extend(asked.secrets.iter().map(|name| Reached::new(Kind::Secret, name)));
    }
    if grants.allows(Interface::EventsPublish) {
        reached.extend(
            manifest.events.publishes.iter().map(|one| Reached::by(Kind::Event, one.topic.as_str(), "publishes")),
        );
    }
    // Subscriptions and hooks lead into the plugin: no import of it says so, and no consent narrows them.
    reached.extend(
        manifest.events.subscribes.iter().map(|one| Reached::by(Kind::Event, one.topic.as_str(), "subscribes")),
    );
    reached.extend(manifest.hooks.iter().map(|hook| Reached::by(Kind::Hook, hook.name.as_str(), hook.kind.as_str())));
    if grants.allows(Interface::ServicesCall) {
        let services = manifest.services.uses.iter().map(|used| format!("{}/{}", used.plugin, used.service));
        reached.extend(services.map(|name| Reached::new(Kind::Service, &name)));
    }
    let is_other = |interface: &Interface| match interface {
        Interface::HooksDispatch
        | Interface::SocketsSend
        | Interface::JobsSchedule
        | Interface::Signals
        | Interface::Metrics
        | Interface::Crypto => true,
        Interface::Log
        | Interface::Config
        | Interface::Authz
        | Interface::Sql
        | Interface::Kv
        | Interface::Blob
        | Interface::Views
        | Interface::Http
        | Interface::EventsPublish
        | Interface::Secrets
        | Interface::ServicesCall => false,
    };
    let others = grants.iter().filter(is_other);
    reached.extend(others.map(|interface| Reached::new(Kind::Interface, interface.as_str())));
    reached.sort_unstable();
    reached.dedup();
    reached
}

fn data(grants: &Grants, manifest: &Manifest) -> Vec<Reached> {
    let own =
        [Interface::Sql, Interface::Kv, Interface::Blob].into_iter().filter(|interface| grants.allows(*interface));
    let mut data: Vec<_> = own.map(|interface| Reached::by(Kind::Data, interface.as_str(), "own")).collect();
    if grants.allows(Interface::Views) {
        data.extend(
            manifest.views.uses.iter().map(|used| {
                Reached::by(Kind::Data, &format!("{}/{}@{}", used.plugin, used.view, used.version), "view")
            }),
        );
    }
    data
}

impl Reached {
    fn new(kind: Kind, name: &str) -> Self {
        Self { kind, name: name.to_owned(), access: None, methods: Vec::new(), ports: Vec::new() }
    }

    fn by(kind: Kind, name: &str, access: &str) -> Self {
        Self { access: Some(access.to_owned()), ..Self::new(kind, name) }
    }
}

#[cfg(test)]
mod tests {
    use bulkhead_model::limits::LimitsCeiling;
    use bulkhead_trust::admit::Signer;
    use bulkhead_trust::policy::Ceiling;
    use serde_json::json;

    use super::*;

    fn manifest() -> Manifest {
        serde_json::from_value(json!({
            "plugin": { "id": "acme.crm", "version": "1.2.0", "name": "CRM", "contract": "^0.1" },
            "capabilities": {
                "sql": true, "kv": true, "crypto": true, "secrets": ["api_key"], "hooks_dispatch": ["crm.score"],
                "http": [
                    { "host": "api.acme.example", "methods": ["POST", "GET"], "ports": [8443, 443] },
                    { "host": "plain.acme.example" }
                ]
            },
            "views": { "uses": [{ "plugin": "acme.billing", "view": "balances", "version": 2 }] },
            "events": { "publishes": [{ "topic": "crm.won" }], "subscribes": [{ "topic": "billing.paid" }] },
            "services": { "uses": [{ "plugin": "acme.billing", "service": "invoices" }] },
            "hooks": [{ "name": "order.validate", "kind": "filter" }]
        }))
        .unwrap()
    }

    fn verdict(grants: &[Interface]) -> Verdict {
        let signer =
            |name: &str, role| Signer { principal: name.to_owned(), role, key_id: Digest::of(name.as_bytes()) };
        Verdict {
            plugin: "acme.crm".parse().unwrap(),
            version: "1.2.0".parse().unwrap(),
            digest: Digest::of(b"crm"),
            sequence: 1,
            policy_version: 7,
            rule: "crm-prod".to_owned(),
            trust: TrustLevel::Verified,
            signers: vec![
                signer("carol", bulkhead_trust::Role::Reviewer),
                signer("acme", bulkhead_trust::Role::Author),
            ],
            core: false,
            critical: false,
            review_wider: false,
            review_rollback: false,
            reviewers: Vec::new(),
            rollback_reviewers: Vec::new(),
            reviews: Vec::new(),
            grants: Grants::of(grants.iter().copied()),
            limits_ceiling: LimitsCeiling::default(),
            tenants: Vec::new(),
            ceiling: Ceiling::default(),
        }
    }

    fn names(granted: &[Interface], consented: &[Interface]) -> Vec<String> {
        let set = ReachSet::of(&verdict(granted), &manifest(), consented);
        let said = |one: &Reached| {
            let parts = [Some(one.kind.as_str()), Some(one.name.as_str()), one.access.as_deref()];
            parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
        };
        set.reached.iter().map(said).collect()
    }

    /// What no consent narrows.
    const ALWAYS: [&str; 2] = ["event billing.paid subscribes", "hook order.validate filter"];

    #[test]
    fn each_interface_opens_what_the_manifest_names_for_it_and_nothing_else() {
        let check = |interface: Interface, wanted: &[&str]| {
            let mut wanted: Vec<_> = wanted.iter().chain(&ALWAYS).map(ToString::to_string).collect();
            let mut found = names(&[interface], &[interface]);
            wanted.sort();
            found.sort();
            assert_eq!(found, wanted, "{interface}");
        };
        check(Interface::Log, &[]);
        check(Interface::Config, &[]);
        check(Interface::Authz, &[]);
        check(Interface::Sql, &["data sql own"]);
        check(Interface::Kv, &["data kv own"]);
        check(Interface::Blob, &["data blob own"]);
        check(Interface::Views, &["data acme.billing/balances@2 view"]);
        check(Interface::Http, &["host api.acme.example", "host plain.acme.example"]);
        check(Interface::Secrets, &["secret api_key"]);
        check(Interface::EventsPublish, &["event crm.won publishes"]);
        check(Interface::ServicesCall, &["service acme.billing/invoices"]);
        for other in [
            Interface::HooksDispatch,
            Interface::SocketsSend,
            Interface::JobsSchedule,
            Interface::Signals,
            Interface::Metrics,
            Interface::Crypto,
        ] {
            check(other, &[&format!("interface {other}")]);
        }
    }

    #[test]
    fn what_policy_or_tenant_does_not_grant_is_not_reached() {
        assert_eq!(names(&Interface::ALL, &[]), ALWAYS);
        assert_eq!(names(&[], &Interface::ALL), ALWAYS);
        let both = names(&[Interface::Sql, Interface::Http], &[Interface::Sql, Interface::Secrets]);
        assert_eq!(both, ["data sql own", ALWAYS[0], ALWAYS[1]]);
    }

    #[test]
    fn a_host_is_reached_by_its_methods_and_ports_and_by_get_on_443_where_none_are_named() {
        let set = ReachSet::of(&verdict(&[Interface::Http]), &manifest(), &[Interface::Http]);
        let hosts: Vec<_> = set.reached.iter().filter(|one| one.kind == Kind::Host).collect();

        assert_eq!(
            (&hosts[0].methods, &hosts[0].ports),
            (&vec!["GET".to_owned(), "POST".to_owned()], &vec![443, 8443])
        );
        assert_eq!((&hosts[1].methods, &hosts[1].ports), (&vec!["GET".to_owned()], &vec![443]));
    }

    #[test]
    fn a_set_has_one_text_and_is_read_back_from_it() {
        let set = ReachSet::of(&verdict(&Interface::ALL), &manifest(), &Interface::ALL);
        let mut other = verdict(&Interface::ALL);
        other.signers.reverse();
        let (id, text) = set.to_text();

        assert_eq!(ReachSet::of(&other, &manifest(), &Interface::ALL).to_text(), (id, text.clone()));
        assert_eq!(serde_json::from_str::<ReachSet>(&text).unwrap(), set);
        assert_eq!(set.signers.iter().map(|one| one.principal.as_str()).collect::<Vec<_>>(), ["acme", "carol"]);
        other.rule = "another".to_owned();
        assert_ne!(ReachSet::of(&other, &manifest(), &Interface::ALL).to_text().0, id);
    }
}
