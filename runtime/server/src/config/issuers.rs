//! `[[auth.issuers]]`: what of them is wrong together, and what the host takes of them.
//! It verifies no token.

use bulkhead_host::TenantPattern;
use bulkhead_host::auth::{OidcIssuer, TokenAlgorithm};
use bulkhead_model::Role;

use super::check::Issue;
use super::{Auth, Issuer, IssuerKind};

/// The `aud` of tokens where none is configured.
const AUDIENCE: &str = "bulkhead";
/// Algorithms where none are configured.
const ALGORITHMS: [&str; 3] = ["RS256", "ES256", "EdDSA"];
/// Roles that reach over all tenants.
const OF_PLATFORM: [Role; 2] = [Role::SuperAdmin, Role::Security];

/// What is wrong between the values of an issuer, and between issuers.
pub(super) fn issues(auth: &Auth) -> Vec<Issue> {
    let mut issues = Vec::new();
    for (index, issuer) in auth.issuers.iter().enumerate() {
        let mut wrong = |name: &str, problem: &str, action: &str| {
            issues.push(Issue::new(format!("auth.issuers.{index}.{name}"), problem, action));
        };
        match issuer.kind {
            IssuerKind::Local => {
                if issuer.public_key.is_none() {
                    wrong("public_key", "a local issuer has a public key", "name the file");
                }
                if let Some(name) = of_oidc(issuer) {
                    wrong(name, "a local issuer has no such key", "remove it, or set `kind = \"oidc\"`");
                }
            }
            IssuerKind::Oidc => of_issuer(issuer, &mut wrong),
        }
        let earlier = auth.issuers.iter().take(index);
        if issuer.issuer.is_some() && earlier.into_iter().any(|other| other.issuer == issuer.issuer) {
            wrong("issuer", "another entry has the same issuer", "say it once");
        }
    }
    issues
}

fn of_issuer(issuer: &Issuer, wrong: &mut impl FnMut(&str, &str, &str)) {
    if issuer.public_key.is_some() {
        wrong("public_key", "the keys of an OIDC issuer are fetched", "remove it");
    }
    if issuer.issuer.is_none() {
        wrong("issuer", "an OIDC issuer has an address", "set it to the `iss` of its tokens");
    }
    if issuer.algorithms.iter().any(|name| TokenAlgorithm::find(name).is_none()) {
        let known: Vec<&str> = TokenAlgorithm::names().collect();
        wrong("algorithms", "one of these is no algorithm with a key pair", &format!("choose of {}", known.join(", ")));
    }
    let roles = roles(issuer);
    if roles.len() != issuer.roles_max.len() {
        let known: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
        wrong("roles_max", "one of these is no role", &format!("choose of {}", known.join(", ")));
    } else if roles.is_empty() {
        wrong("roles_max", "an issuer without roles lets nobody do anything", "name the roles that it may give");
    }
    if issuer.tenants.is_empty() {
        wrong("tenants", "an issuer without tenants speaks for none", "name the tenants that it may speak for");
    }
    if tenants(issuer).len() != issuer.tenants.len() {
        wrong("tenants", "one of these is no tenant and no beginning of one", "write `bank-a`, `bank-*` or `*`");
    }
    if roles.iter().any(|role| OF_PLATFORM.contains(role)) && !issuer.tenants.iter().any(|tenant| tenant == "*") {
        wrong(
            "roles_max",
            "`super_admin` and `security` reach over all tenants, and the issuer speaks for some",
            "leave them out, or set `tenants = [\"*\"]`",
        );
    }
}

/// A key that is set and that an OIDC issuer alone has.
fn of_oidc(issuer: &Issuer) -> Option<&'static str> {
    let set = [
        ("issuer", issuer.issuer.is_some()),
        ("jwks_url", issuer.jwks_url.is_some()),
        ("audience", issuer.audience.is_some()),
        ("algorithms", !issuer.algorithms.is_empty()),
        ("roles_claim", issuer.roles_claim.is_some()),
        ("tenant_claim", issuer.tenant_claim.is_some()),
        ("permissions_claim", issuer.permissions_claim.is_some()),
        ("subject_prefix", issuer.subject_prefix.is_some()),
        ("roles_max", !issuer.roles_max.is_empty()),
        ("tenants", !issuer.tenants.is_empty()),
    ];
    set.into_iter().find(|(_, is_set)| *is_set).map(|(name, _)| name)
}

fn roles(issuer: &Issuer) -> Vec<Role> {
    issuer.roles_max.iter().filter_map(|role| role.parse().ok()).collect()
}

fn tenants(issuer: &Issuer) -> Vec<TenantPattern> {
    issuer.tenants.iter().filter_map(|tenant| TenantPattern::parse(tenant)).collect()
}

/// The OIDC issuers as the host takes them, their defaults filled in.
pub(super) fn oidc(auth: &Auth) -> Vec<OidcIssuer> {
    let or = |value: &Option<String>, default: &str| value.clone().unwrap_or_else(|| default.to_owned());
    let of = |issuer: &Issuer| {
        let named: Vec<&str> = issuer.algorithms.iter().map(String::as_str).collect();
        let algorithms = if named.is_empty() { ALGORITHMS.to_vec() } else { named };
        Some(OidcIssuer {
            issuer: issuer.issuer.clone()?,
            jwks_url: issuer.jwks_url.clone(),
            audience: or(&issuer.audience, AUDIENCE),
            algorithms: algorithms.into_iter().filter_map(TokenAlgorithm::find).collect(),
            roles_claim: or(&issuer.roles_claim, "roles"),
            tenant_claim: or(&issuer.tenant_claim, "tenant"),
            permissions_claim: or(&issuer.permissions_claim, "permissions"),
            subject_prefix: or(&issuer.subject_prefix, ""),
            roles_max: roles(issuer),
            tenants: tenants(issuer),
        })
    };
    auth.issuers.iter().filter(|issuer| issuer.kind == IssuerKind::Oidc).filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> Vec<String> {
        let auth: Auth = toml_of(text);
        issues(&auth).into_iter().map(|issue| issue.key.replace("auth.issuers.", "")).collect()
    }

    fn toml_of(text: &str) -> Auth {
        let source = config::Config::builder().add_source(config::File::from_str(text, config::FileFormat::Toml));
        source.build().unwrap().try_deserialize().unwrap()
    }

    const BANK: &str = "[[issuers]]\nkind = \"oidc\"\nissuer = \"https://login.bank.example\"\n";

    #[test]
    fn an_issuer_says_what_it_may_and_no_more_than_fits_together() {
        let check = |rest: &str, wanted: &[&str]| assert_eq!(wrong(&format!("{BANK}{rest}")), wanted, "{rest}");
        check("roles_max = [\"member\"]\ntenants = [\"bank-*\"]", &[]);
        check("roles_max = [\"super_admin\"]\ntenants = [\"*\"]", &[]);
        check("roles_max = [\"super_admin\"]\ntenants = [\"bank-*\"]", &["0.roles_max"]);
        check("roles_max = [\"security\", \"member\"]\ntenants = [\"bank-*\", \"shop\"]", &["0.roles_max"]);
        check("tenants = [\"bank-a\"]", &["0.roles_max"]);
        check("roles_max = [\"root\"]\ntenants = [\"a\"]", &["0.roles_max"]);
        for algorithm in ["none", "HS256", "rs256", ""] {
            let text = format!("roles_max = [\"member\"]\ntenants = [\"a\"]\nalgorithms = [\"{algorithm}\"]");
            check(&text, &["0.algorithms"]);
        }
        check("roles_max = [\"member\"]", &["0.tenants"]);
        check("roles_max = [\"member\"]\ntenants = [\"b*nk\"]", &["0.tenants"]);
        check("roles_max = [\"member\"]\ntenants = [\"a\"]\npublic_key = \"k.pem\"", &["0.public_key"]);
        let twice = format!("{BANK}roles_max = [\"member\"]\ntenants = [\"a\"]\n").repeat(2);
        assert_eq!(wrong(&twice), ["1.issuer"]);
        assert_eq!(wrong("[[issuers]]\nkind = \"oidc\"\nroles_max = [\"member\"]\ntenants = [\"a\"]"), ["0.issuer"]);
        assert_eq!(wrong("[[issuers]]\nkind = \"local\""), ["0.public_key"]);
        assert_eq!(wrong("[[issuers]]\nkind = \"local\"\npublic_key = \"k\"\ntenants = [\"a\"]"), ["0.tenants"]);
    }

    #[test]
    fn what_is_left_out_has_its_default_and_no_more() {
        let issuer = oidc(&toml_of(&format!("{BANK}roles_max = [\"member\"]\ntenants = [\"bank-*\"]"))).remove(0);

        assert_eq!((issuer.audience.as_str(), issuer.roles_claim.as_str()), ("bulkhead", "roles"));
        assert_eq!(issuer.algorithms.len(), 3);
        assert_eq!(issuer.roles_max, [Role::Member]);
        assert!(TokenAlgorithm::find("none").is_none() && TokenAlgorithm::find("HS256").is_none());
    }
}
