//! Who may do what where: a token's scopes and the repositories that it is for.
//! It reads no database; a namespace that everybody may pull from is `registry.rs`'s business.

use std::fmt;
use std::str::FromStr;

use crate::name::{RepositoryName, is_part};

/// Most patterns of a token.
pub(crate) const PATTERNS_MAX: usize = 32;

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Read.
    Pull,
    /// Push releases and whatever an open namespace takes; delete what an open namespace lets go.
    Push,
    /// Push signature bundles.
    Sign,
    /// Withdraw versions.
    Yank,
    /// All of it.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 5] = [Self::Pull, Self::Push, Self::Sign, Self::Yank, Self::Admin];

    /// The scope as tokens write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Sign => "sign",
            Self::Yank => "yank",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Text that is no scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scope is one of pull, push, sign, yank, admin")]
pub struct InvalidScope;

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(InvalidScope)
    }
}

/// Repositories: `acme` is the namespace with all in it, `acme/crm` one repository with what is below it, `acme/crm-*` those
/// that begin so, `*` all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(String);

/// Text that is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pattern of repositories is a namespace `acme`, a repository `acme/crm`, a beginning `acme/crm-*`, or `*`")]
pub(crate) struct InvalidPattern;

impl FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let is_valid = match text.strip_suffix('*') {
            None => text.parse::<RepositoryName>().is_ok(),
            Some("") => true,
            // A namespace is whole: `acme*` would reach `acme-evil`.
            Some(beginning) => beginning.split_once('/').is_some_and(|(namespace, rest)| {
                let rest = format!("{rest}x");
                is_part(namespace) && rest.split('/').all(is_part)
            }),
        };
        if is_valid { Ok(Self(text.to_owned())) } else { Err(InvalidPattern) }
    }
}

impl Pattern {
    fn covers(&self, repository: &RepositoryName) -> bool {
        let name = repository.as_str();
        match self.0.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name.strip_prefix(self.0.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Nobody that is known.
    Anonymous,
    /// The holder of a token.
    Token(Token),
}

impl Caller {
    /// Whether it may read in every repository.
    pub fn reads_everything(&self) -> bool {
        match self {
            Self::Anonymous => false,
            Self::Token(token) => {
                let reads = [Scope::Pull, Scope::Admin].iter().any(|scope| token.scopes.contains(scope));
                reads && token.patterns.iter().any(|pattern| pattern.0 == "*")
            }
        }
    }
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its public name.
    pub id: String,
    /// For whom or what it is.
    pub name: String,
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) scopes: Vec<Scope>,
}

impl Token {
    /// Whether it allows this in a repository.
    pub fn allows(&self, scope: Scope, repository: &RepositoryName) -> bool {
        let has = self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin);
        has && self.covers(repository)
    }

    pub(crate) fn covers(&self, repository: &RepositoryName) -> bool {
        self.patterns.iter().any(|pattern| pattern.covers(repository))
    }

    /// The subject of its acts in the audit log.
    pub fn subject(&self) -> String {
        format!("registry:{}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_its_repositories_and_no_neighbours() {
        let check = |pattern: &str, repository: &str, covered: bool| {
            let pattern: Pattern = pattern.parse().unwrap();
            assert_eq!(pattern.covers(&repository.parse().unwrap()), covered, "{pattern:?} {repository}");
        };

        check("acme", "acme/crm", true);
        check("acme", "acme", true);
        check("acme", "acme-evil/crm", false);
        check("acme/crm", "acme/crm", true);
        check("acme/crm", "acme/crm/below", true);
        check("acme/crm", "acme/crm-evil", false);
        check("acme/crm-*", "acme/crm-extra", true);
        check("acme/crm-*", "acme/crm", false);
        check("acme/*", "acme/crm", true);
        check("acme/*", "acme-evil/crm", false);
        check("*", "any/thing", true);
    }

    #[test]
    fn a_pattern_that_could_reach_another_namespace_is_none() {
        for bad in ["", "acme*", "ac*", "*/crm", "acme/*/x", "Acme", "acme crm", "acme/c*m", "/"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_allows_its_scopes_and_admin_all() {
        let token = |scopes: &[Scope]| Token {
            id: "t".to_owned(),
            name: "ci".to_owned(),
            patterns: vec!["acme".parse().unwrap()],
            scopes: scopes.to_vec(),
        };
        let (crm, other): (RepositoryName, RepositoryName) =
            ("acme/crm".parse().unwrap(), "globex/crm".parse().unwrap());

        assert!(token(&[Scope::Push]).allows(Scope::Push, &crm));
        assert!(!token(&[Scope::Push]).allows(Scope::Sign, &crm));
        assert!(!token(&[Scope::Push]).allows(Scope::Push, &other));
        for scope in Scope::ALL {
            assert!(token(&[Scope::Admin]).allows(scope, &crm), "{scope}");
            assert!(!token(&[Scope::Admin]).allows(scope, &other), "{scope}");
        }
    }
}
