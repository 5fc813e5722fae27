//! The one table of error codes: what each means and what a person does about it.
//! It knows no HTTP status; `server/http/problem.rs` maps a [`Kind`] to one.

use std::fmt;

/// What sort of failure a code is; decides the HTTP status and the CLI's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No valid token.
    Unauthenticated,
    /// The caller or the artifact may not.
    Forbidden,
    /// Unknown, or not visible to this caller.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The state does not allow it.
    Conflict,
    /// A size limit was passed.
    TooLarge,
    /// The media type is not understood.
    UnsupportedMedia,
    /// The input is wrong; the answer says where.
    Invalid,
    /// A rate limit was passed; try later.
    TooMany,
    /// The plugin or the host failed.
    Failed,
    /// The answer of something behind the host was unusable.
    BadGateway,
    /// Not served now and a retry may help; carries a retry time.
    Busy,
    /// Not served and the same request would fail again.
    Exhausted,
    /// The time was up.
    Deadline,
}

/// An error that has a code.
pub trait Coded {
    /// The code.
    fn code(&self) -> Code;
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $kind:ident, $title:literal, $action:literal;)*) => {
        /// A stable error code. Its text, kind, title and advice stand in one table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $title] $name,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as problems, events and logs write it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What sort of failure it is.
            pub const fn kind(self) -> Kind {
                match self { $(Self::$name => Kind::$kind,)* }
            }

            /// One line for people.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// What to do about it.
            pub const fn action(self) -> &'static str {
                match self { $(Self::$name => $action,)* }
            }
        }
    };
}

codes! {
    // Refusals of an artifact.
    Unsigned = "unsigned", Forbidden, "The artifact carries no signature",
        "Sign it with `bulkhead sign FILE --key PEM` and publish the bundle with it.";
    UnknownSigner = "unknown-signer", Forbidden, "No signer of this artifact may ship this plugin",
        "Add the signer's key to a rule of the policy, or sign with a key that a rule names.";
    BadSignature = "bad-signature", Forbidden, "A signature does not verify",
        "Sign again with pure Ed25519; a changed bundle or Ed25519ph is refused.";
    DigestMismatch = "digest-mismatch", Forbidden, "The bytes are not the ones that were signed",
        "Publish the file exactly as it was signed; packing and stripping come before signing.";
    Expired = "expired", Forbidden, "A signature, key, rule or policy has expired",
        "Sign again, or renew the key's validity or the rule in the policy.";
    Revoked = "revoked", Forbidden, "A key or digest was revoked or denied",
        "Ship a new release under a key that is not revoked.";
    VersionOutOfRange = "version-out-of-range", Forbidden, "No rule allows this version",
        "Widen the version range of the rule, or publish a version inside it.";
    Downgrade = "downgrade", Conflict, "An older release than the one known",
        "Going back is an act of its own: `bulkhead plugin rollback ID --to VERSION --reason ...`; publish a higher version and sequence otherwise.";
    ThresholdNotMet = "threshold-not-met", Forbidden, "Too few signers of a required role",
        "Collect the missing signatures; each principal counts once per role.";
    CapabilityOverCeiling = "capability-over-ceiling", Forbidden, "The plugin asks for more than the rule allows",
        "Ask for less in the manifest, or raise the rule's ceiling.";
    ManifestMismatch = "manifest-mismatch", Invalid, "Manifest, component and signature do not agree",
        "Make id, version, imports and exports agree, pack again, sign again.";
    IncompatibleContract = "incompatible-contract", Invalid, "The plugin needs a contract that this host does not serve",
        "Build for the host's contract version, without the interfaces named.";
    ForbiddenImport = "forbidden-import", Forbidden, "The component imports something that never links",
        "Remove the import; sockets, processes and unknown interfaces are refused.";
    TooLarge = "too-large", TooLarge, "A structural limit of artifacts was passed",
        "Make the artifact smaller; `bulkhead inspect` shows sizes and limits.";
    Malformed = "malformed", Invalid, "The artifact or a document in it is malformed",
        "Correct what `errors` points at and pack again.";
    PendingReview = "pending-review", Conflict, "The version may do more than the one before and waits for a review",
        "A security officer decides: `bulkhead review list`, then `bulkhead review approve` or `reject`.";
    ReviewRejected = "review-rejected", Forbidden, "A reviewer rejected the version",
        "Read the reason in `detail`, ship a version that asks for less, or ask for another review.";
    SelfReview = "self-review", Forbidden, "Nobody approves what they registered or install themselves",
        "Let another security officer decide.";
    NotInLog = "not-in-log", Forbidden, "The registry's log does not prove the release",
        "Register the release on this host; a row that was written past the host has no place in the log.";
    RegistryLogBroken = "registry-log-broken", Conflict, "The stored state is not what this host saw before",
        "Compare with a backup and with kept checkpoints; then `bulkhead registry log accept --reason TEXT`.";
    RegistryKeyMissing = "registry-key-missing", Conflict, "This host has no key to sign checkpoints",
        "Set `registry.signing_key_file`, the same on all hosts of the database.";
    CompileFailed = "compile-failed", Invalid, "The component could not be compiled within its limits",
        "Make functions smaller or fewer; the compile worker's limits are in the reference.";

    // Requests.
    Unauthenticated = "unauthenticated", Unauthenticated, "No valid token",
        "Send `Authorization: Bearer <token>`; `bulkhead token issue` makes one.";
    RoleRequired = "role-required", Forbidden, "The token's roles do not allow this",
        "Use a token with the role that the reference names for this path.";
    PermissionDenied = "permission-denied", Forbidden, "The user lacks the route's permission",
        "Give the user the permission named in `detail`.";
    NotFound = "not-found", NotFound, "There is no such thing here",
        "Check the name; a plugin must be enabled for the tenant.";
    RouteNotFound = "route-not-found", NotFound, "The plugin has no such route",
        "See the plugin's `/openapi.json` for its routes.";
    MethodNotAllowed = "method-not-allowed", MethodNotAllowed, "The route has no such method",
        "Use a method from the `Allow` header.";
    Conflict = "conflict", Conflict, "The request conflicts with what is there",
        "Read the current state and try again.";
    RefusedTransition = "refused-transition", Conflict, "The state does not allow this step",
        "Take one of the steps named in `detail`.";
    BodyTooLarge = "body-too-large", TooLarge, "The request body is too large",
        "Send at most the number of bytes named in `detail`.";
    UnsupportedMediaType = "unsupported-media-type", UnsupportedMedia, "The media type is not understood",
        "Send the media type named in `detail`.";
    InvalidInput = "invalid-input", Invalid, "The input is not valid",
        "Correct what `detail` and `errors` name.";
    RateLimited = "rate-limited", TooMany, "Too many requests",
        "Wait for the time in `Retry-After`.";
    TenantRequired = "tenant-required", Invalid, "The request names no tenant",
        "Use a token of the tenant; `host` may send `X-Tenant-ID`, `super_admin` `?tenant=`.";
    UnknownHook = "unknown-hook", NotFound, "No such hook is declared",
        "Declare the hook with `PUT /api/v1/hooks/{name}` or enable the plugin that declares it.";
    HookClosed = "hook-closed", Forbidden, "A hook that fails closed failed",
        "See `errors` for the plugin that failed; the act was not allowed.";
    InvalidConfiguration = "invalid-configuration", Invalid, "The configuration does not satisfy its schema",
        "Correct the fields in `errors`.";

    // Calls into a plugin.
    PluginFailed = "plugin-failed", Failed, "The plugin failed",
        "Look up the trace id in the plugin's errors.";
    PluginError = "plugin-error", Invalid, "The plugin refused the request with a code of its own",
        "See `detail` for the plugin's code and text.";
    PluginDenied = "plugin-denied", Forbidden, "The plugin denied the request",
        "See `detail` for the plugin's reason.";
    PluginKilled = "plugin-killed", Forbidden, "An operator stopped this plugin",
        "Ask the operator; `revive` ends the kill.";
    PluginUnavailable = "plugin-unavailable", Busy, "The plugin does not serve now",
        "Try again after the time in `Retry-After`.";
    BreakerOpen = "breaker-open", Busy, "The plugin failed too often and rests",
        "Try again after the time in `Retry-After`; see the plugin's errors.";
    Quarantined = "quarantined", Busy, "The plugin is quarantined",
        "An admin resets the quarantine after looking at its evidence.";
    Draining = "draining", Busy, "The host is shutting down",
        "Try again; another node or the restarted host will answer.";
    Overloaded = "overloaded", Busy, "The host has no room for another call",
        "Try again after the time in `Retry-After`.";
    FuelExhausted = "fuel-exhausted", Exhausted, "The call used up its compute budget",
        "Do less in one call, or raise `limits.fuel_per_call` within the policy.";
    MemoryExceeded = "memory-exceeded", Exhausted, "The call passed its memory limit",
        "Use less memory, or raise `limits.memory_bytes` within the policy.";
    StackExhausted = "stack-exhausted", Exhausted, "The call ran out of stack",
        "Recurse less deeply.";
    HostCallsExceeded = "host-calls-exceeded", Exhausted, "The call made too many host calls",
        "Batch the calls; 1,000 are allowed by default.";
    HandlesExceeded = "handles-exceeded", Exhausted, "The call opened too many handles",
        "Drop resources when they are no longer needed.";
    DeadlineExceeded = "deadline-exceeded", Deadline, "The call passed its deadline",
        "Do less in one call, or raise `limits.deadline_ms` within the policy.";
    ResponseTooLarge = "response-too-large", BadGateway, "The plugin's answer is too large",
        "Answer in pages.";

    // Operation of the host.
    InvalidHostConfiguration = "invalid-host-configuration", Invalid, "The host's configuration is not valid",
        "Correct the key named; `bulkhead config check` shows all problems.";
    PolicyInvalid = "policy-invalid", Invalid, "The policy is not valid",
        "Correct the policy; `bulkhead policy check` shows all problems.";
    PolicyStale = "policy-stale", Conflict, "The policy is older than the one in force",
        "Raise `version` in the policy file.";
    MigrationDrift = "migration-drift", Conflict, "An applied migration has changed",
        "Restore the migration's bytes; a change is a new migration.";
    MigrationFailed = "migration-failed", Conflict, "A migration failed in a tenant",
        "Correct the cause in `detail` and run it again.";
    ViewBroken = "view-broken", Conflict, "A view that a plugin publishes cannot be read",
        "Correct the view's SELECT or the migration that it needs, named in `detail`, and publish again.";
    DependencyUnmet = "dependency-unmet", Conflict, "A plugin that this one needs is missing",
        "Install the dependency named in `detail` first.";
    DatabaseUnavailable = "database-unavailable", Busy, "The database does not answer",
        "Check the database; nothing acknowledged was lost.";
    OutboundRefused = "outbound-refused", Forbidden, "The host may not speak to this address",
        "Use a public HTTPS address, or let the operator name the host in `[outbound]`.";
    OutboundFailed = "outbound-failed", BadGateway, "A server that the host asked gave no usable answer",
        "Check the address and the credential named in `detail`, then try again.";
    StorageFull = "storage-full", Exhausted, "The disk or the quota is full",
        "Free space or raise the quota; reads go on.";
    Internal = "internal", Failed, "The host failed",
        "Look up the trace id in the host's log.";
}

impl Code {
    /// Whether the code is a refusal of an artifact by structure, signature or policy (exit code 3 of the CLI).
    pub const fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::Unsigned
                | Self::UnknownSigner
                | Self::BadSignature
                | Self::DigestMismatch
                | Self::Expired
                | Self::Revoked
                | Self::VersionOutOfRange
                | Self::Downgrade
                | Self::NotInLog
                | Self::ThresholdNotMet
                | Self::CapabilityOverCeiling
                | Self::ManifestMismatch
                | Self::IncompatibleContract
                | Self::ForbiddenImport
                | Self::TooLarge
                | Self::Malformed
        )
    }

    /// Whether the code says that a reviewer has not agreed; the CLI ends with 3 as for a refusal.
    pub const fn is_review(self) -> bool {
        matches!(self, Self::PendingReview | Self::ReviewRejected | Self::SelfReview)
    }

    /// The code of this text.
    pub fn find(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_unique_and_found_by_its_text() {
        let texts: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();

        assert_eq!(texts.len(), Code::ALL.len());
        for code in Code::ALL {
            assert_eq!(Code::find(code.as_str()), Some(*code));
            assert!(code.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{code}");
        }
    }
}
