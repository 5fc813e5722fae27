//! What can be wrong with a host, by code, and what to do about each. Pure, but for what it is given: `usecase/doctor` looks.

use bulkhead_trust::Policy;
use jiff::{Timestamp, ToSpan as _};

/// Time before an end within which it is told of: 30 days, in hours.
const SOON_H: i64 = 30 * 24;
/// Findings of one code that are listed; how many more there are is said in one.
const OF_ONE_CODE_MAX: usize = 50;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something does not work, or is not safe.
    Error,
    /// It will not work, or is not as it should be.
    Warning,
    /// It deserves a look.
    Info,
}

impl Severity {
    /// The severity as JSON writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub check: Check,
    /// Which one, for people.
    pub what: String,
}

macro_rules! checks {
    ($($(#[$doc:meta])* $name:ident $code:literal $severity:ident $next:literal;)*) => {
        /// What is looked for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Check {
            $($(#[$doc])* $name,)*
        }

        impl Check {
            /// Every check.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its code.
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }

            /// How bad it is.
            pub const fn severity(self) -> Severity {
                match self {
                    $(Self::$name => Severity::$severity,)*
                }
            }

            /// What to do.
            pub const fn next(self) -> &'static str {
                match self {
                    $(Self::$name => $next,)*
                }
            }
        }
    };
}

checks! {
    /// The database does not answer.
    DatabaseUnreachable "database-unreachable" Error "start the database, or correct `database.url`; what it holds was not looked at";
    /// The clocks of this machine and of the database differ.
    ClockSkew "clock-skew" Warning "let both machines follow a time server: validity, tokens and jobs go by the clock";
    /// Nothing can be written to the data folder.
    DataDirUnwritable "data-dir-unwritable" Error "make the folder writable for the host's user";
    /// Little room is left for data.
    DiskLow "disk-low" Warning "free space, or move `server.data_dir`: without any the host answers 507 to writes";
    /// Nothing can be compiled.
    CompileWorkerBroken "compile-worker-broken" Error "let `engine.compile_worker` name the `bulkhead` program of this version";
    /// The audit log was changed.
    AuditBroken "audit-broken" Error "compare with a backup: somebody changed the host's database";
    /// Others can read a private key.
    KeyFileOpen "key-file-open" Error "run `chmod 600` on the file, and replace the key if others use the machine";
    /// A file of a key is not there, or cannot be read.
    KeyFileMissing "key-file-missing" Error "put the file back, or name another one in the configuration";
    /// The private root key is on the host.
    RootKeyOnHost "root-key-on-host" Warning "keep it off the machine: only whoever changes the policy needs it";
    /// No key may sign a policy.
    PolicyRootMissing "policy-root-missing" Warning "name a root key in `policy.root_keys`; without one nothing can be allowed";
    /// The chain of root keys is broken.
    PolicyRootsBroken "policy-roots-broken" Error "restore the database from a backup; nothing is allowed until the chain is whole";
    /// The time of the root keys is over.
    PolicyRootsExpired "policy-roots-expired" Error "install the next ones: `bulkhead policy roots install`; no policy can be installed until then";
    /// The time of the root keys ends soon.
    PolicyRootsExpiring "policy-roots-expiring" Warning "sign and install the next ones: `bulkhead policy roots sign`";
    /// No policy is installed.
    PolicyMissing "policy-missing" Warning "install one: `bulkhead policy install policy.toml --key root.key.pem`";
    /// The stored policy is not signed by the root keys of the configuration.
    PolicyUnverified "policy-unverified" Error "install one that they signed, or correct `policy.root_keys`; nothing is allowed until then";
    /// The policy's time is over.
    PolicyExpired "policy-expired" Error "install a policy that expires later: it allows nothing any more";
    /// The policy's time ends soon.
    PolicyExpiring "policy-expiring" Warning "install a policy that expires later";
    /// A signer's time is over.
    PrincipalExpired "principal-expired" Warning "give the principal another key and validity, or take it out of the policy";
    /// A signer's time ends soon.
    PrincipalExpiring "principal-expiring" Warning "give the principal its next key, and sign releases with it";
    /// A rule's time is over.
    RuleExpired "rule-expired" Warning "renew the rule, or take it out of the policy";
    /// A rule's time ends soon.
    RuleExpiring "rule-expiring" Warning "renew the rule: what it alone allows stops with it";
    /// A token of the registry ends soon.
    RegistryTokenExpiring "registry-token-expiring" Warning "create the next one: `bulkhead registry token create`";
    /// A token of the registry is over.
    RegistryTokenExpired "registry-token-expired" Info "nothing: it is removed by and by";
    /// The keys of an issuer of tokens are not known.
    IssuerKeysMissing "issuer-keys-missing" Error "make the issuer reachable: `auth.issuers`, and `outbound` if it is private; its tokens are refused";
    /// The keys of an issuer were not fetched for long.
    IssuerKeysOld "issuer-keys-old" Warning "make the issuer reachable before its last keys are a day old";
    /// A release without any signature.
    ReleaseUnsigned "release-unsigned" Error "remove the plugin, or publish the release with its signatures: `bulkhead publish`";
    /// A release whose signers nobody knows any more.
    SignerUnknown "signer-unknown" Warning "let a known signer sign it, or install another version";
    /// A release that the policy refuses.
    ReleaseRefused "release-refused" Warning "see `bulkhead policy explain`; it cannot be installed or loaded again";
    /// A plugin serves a tenant, and the tables say otherwise.
    ServingNotStored "serving-not-stored" Error "restart the host; see who changed the database";
    /// The tables say that a plugin serves a tenant, and it does not.
    StoredNotServing "stored-not-serving" Warning "see `bulkhead plugin show` and its `last_error`; enabling it again tries again";
    /// Compiled code of nothing that is registered.
    CacheOrphaned "cache-orphaned" Info "remove the files, if no other host uses the folder";
    /// Data of tenants or plugins that are gone.
    DataOrphaned "data-orphaned" Warning "look at it, and remove it: neither host nor plugin does";
    /// A migration ran that the release does not have.
    MigrationDrift "migration-drift" Error "install a release that carries what ran: `bulkhead migrate status`";
    /// A layer of the isolation on the database server is open.
    StorageLayerOpen "storage-layer-open" Warning "take the rights back as the finding says; a superuser may be needed";
}

impl Finding {
    /// A finding.
    pub fn new(check: Check, what: impl Into<String>) -> Self {
        Self { check, what: what.into() }
    }
}

/// The findings by severity and code, not too many of each.
pub fn sorted(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by_key(|finding| (finding.check.severity(), finding.check));
    let mut kept: Vec<Finding> = Vec::new();
    for check in Check::ALL {
        let of_check = findings.iter().filter(|finding| finding.check == *check);
        let more = of_check.clone().count().saturating_sub(OF_ONE_CODE_MAX);
        kept.extend(of_check.take(OF_ONE_CODE_MAX).cloned());
        if more > 0 {
            kept.push(Finding::new(*check, format!("and {more} more")));
        }
    }
    kept.sort_by_key(|finding| (finding.check.severity(), finding.check));
    kept
}

/// What is over, or ends soon, in a policy at `now`.
pub(crate) fn policy_findings(policy: &Policy, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut ends = |until: Option<Timestamp>, what: String, over: Check, soon: Check| {
        findings.extend(until.and_then(|until| end(until, now, &what, over, soon)));
    };
    let version = format!("version {}", policy.version);
    ends(Some(policy.expires), version, Check::PolicyExpired, Check::PolicyExpiring);
    for principal in &policy.principals {
        let what = format!("`{}`", principal.name);
        ends(principal.valid_until, what, Check::PrincipalExpired, Check::PrincipalExpiring);
    }
    for rule in &policy.allow {
        ends(rule.expires, format!("`{}`", rule.id), Check::RuleExpired, Check::RuleExpiring);
    }
    findings
}

/// Whether something's time is over at `now`, or soon will be.
pub(crate) fn end(until: Timestamp, now: Timestamp, what: &str, over: Check, soon: Check) -> Option<Finding> {
    if until <= now {
        return Some(Finding::new(over, format!("{what} expired at {until}")));
    }
    let is_soon = now.checked_add(SOON_H.hours()).is_ok_and(|later| until <= later);
    is_soon.then(|| Finding::new(soon, format!("{what} expires at {until}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-21T00:00:00Z";

    fn found(policy: &str) -> Vec<&'static str> {
        let key = bulkhead_trust::SigningKey::generate([1; 32]).verifying_key();
        let policy = Policy::from_toml(&policy.replace("KEY", &key.to_policy_text())).unwrap();
        policy_findings(&policy, NOW.parse().unwrap()).iter().map(|finding| finding.check.code()).collect()
    }

    #[test]
    fn what_is_over_or_ends_within_30_days_is_told_and_what_lasts_is_not() {
        let check = |expires: &str, principal: &str, rule: &str, wanted: &[&str]| {
            let text = format!(
                "version = 1\nexpires = \"{expires}\"\n[[principal]]\nname = \"a\"\nkeys = [\"KEY\"]\n\
                 valid = [\"2020-01-01\", \"{principal}\"]\n[[allow]]\nid = \"r\"\nplugin = \"acme.crm\"\n\
                 signers = [{{ role = \"author\", of = [\"a\"], threshold = 1 }}]\ntenants = [\"*\"]\nexpires = \"{rule}\"\n"
            );
            assert_eq!(found(&text), wanted, "{expires} {principal} {rule}");
        };
        const LATE: &str = "2199-01-01";
        check(&format!("{LATE}T00:00:00Z"), LATE, LATE, &[]);
        check("2026-12-22T00:00:00Z", LATE, LATE, &[]);
        check("2026-12-20T00:00:00Z", LATE, LATE, &["policy-expiring"]);
        check("2026-11-20T00:00:00Z", LATE, LATE, &["policy-expired"]);
        check(&format!("{LATE}T00:00:00Z"), "2026-12-01", LATE, &["principal-expiring"]);
        check(&format!("{LATE}T00:00:00Z"), "2026-01-01", LATE, &["principal-expired"]);
        check(&format!("{LATE}T00:00:00Z"), LATE, "2026-12-01", &["rule-expiring"]);
        check(&format!("{LATE}T00:00:00Z"), LATE, "2026-01-01", &["rule-expired"]);
    }

    #[test]
    fn the_worst_comes_first_and_many_of_one_kind_are_counted() {
        let many = (0..60).map(|number| Finding::new(Check::CacheOrphaned, number.to_string()));
        let findings = sorted(many.chain([Finding::new(Check::AuditBroken, "entry 3")]).collect());

        assert_eq!(findings.len(), 1 + OF_ONE_CODE_MAX + 1);
        assert_eq!(findings[0].check, Check::AuditBroken);
        assert_eq!(findings.last().unwrap().what, "and 10 more");
    }

    #[test]
    fn every_code_is_its_own_and_is_in_the_guide() {
        let guide = include_str!("../../../docs/guides/platform-admin.md");
        let codes: std::collections::BTreeSet<_> = Check::ALL.iter().map(|check| check.code()).collect();

        assert_eq!(codes.len(), Check::ALL.len());
        for check in Check::ALL {
            assert!(guide.contains(&format!("| `{}` | {} |", check.code(), check.severity().as_str())), "{check:?}");
        }
    }
}
