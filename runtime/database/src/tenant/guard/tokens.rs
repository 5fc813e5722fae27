//! Bounds a text before it is parsed: bytes, tokens, nesting, and the length of chains, all counted without recursion.
//! What the words mean is the parser's and the printer's matter.

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::super::limits;
use super::denied::{Denied, Reason};

/// Parentheses, brackets and CASEs within each other.
const DEPTH_MAX: usize = 64;
/// Tokens between two commas of the same level: bounds chains such as `1 + 1 + 1`, which are as deep as they are long.
const RUN_TOKENS_MAX: usize = 2_000;
/// SELECTs joined by UNION, INTERSECT and EXCEPT, which are as deep as they are many.
const COMPOUND_MAX: usize = 100;

/// How large a text may be.
#[derive(Debug)]
pub(super) struct Bounds {
    bytes: usize,
    statement_tokens: usize,
    /// A statement at run time, which takes parameters, and not a migration, which takes none.
    pub(super) is_one_statement: bool,
}

/// One statement at run time.
pub(super) const STATEMENT: Bounds =
    Bounds { bytes: limits::STATEMENT_BYTES_MAX, statement_tokens: 2_000, is_one_statement: true };
/// A migration.
pub(super) const SCRIPT: Bounds =
    Bounds { bytes: limits::MIGRATION_BYTES_MAX, statement_tokens: 50_000, is_one_statement: false };

/// The tokens of a text, with comments and blanks gone.
pub(super) fn read(text: &str, bounds: &Bounds) -> Result<Vec<TokenWithSpan>, Denied> {
    if text.len() > bounds.bytes {
        return Err(Denied::new(Reason::Size, ""));
    }
    if text.contains('\0') {
        return Err(Denied::new(Reason::Character, "nul"));
    }
    let mut tokens = Tokenizer::new(&PostgreSqlDialect {}, text)
        .tokenize_with_location()
        .map_err(|error| Denied::new(Reason::Syntax, &error.to_string()))?;
    if tokens.windows(3).any(is_unicode_name) {
        return Err(Denied::new(Reason::Literal, "U&\"..\""));
    }
    // A comment that the parser reads as a hint is one that it must not see.
    tokens.retain(|token| !matches!(&token.token, Token::Whitespace(_)));
    let mut meter = Meter::default();
    for token in &tokens {
        meter.count(&token.token, bounds)?;
    }
    Ok(tokens)
}

/// `U&"d\0061ta"` is one name to PostgreSQL and three words to the parser.
fn is_unicode_name(tokens: &[TokenWithSpan]) -> bool {
    let mut words = tokens.iter().map(|token| &token.token);
    matches!(words.next(), Some(Token::Word(word)) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("u"))
        && matches!(words.next(), Some(Token::Ampersand))
        && matches!(words.next(), Some(Token::Word(word)) if word.quote_style.is_some())
}

/// Counts of the statement that is being read.
#[derive(Debug, Default)]
struct Meter {
    tokens: usize,
    compounds: usize,
    /// One entry a level: whether it is a CASE, and the tokens since its last comma.
    levels: Vec<(bool, usize)>,
    run: usize,
}

impl Meter {
    fn count(&mut self, token: &Token, bounds: &Bounds) -> Result<(), Denied> {
        self.tokens += 1;
        self.run += 1;
        match token {
            Token::SemiColon => *self = Self::default(),
            Token::Comma => self.run = 0,
            Token::LParen | Token::LBracket | Token::LBrace => self.open(false),
            Token::RParen | Token::RBracket | Token::RBrace => self.close(false),
            Token::Word(word) if word.quote_style.is_none() => match word.keyword {
                Keyword::CASE => self.open(true),
                Keyword::END => self.close(true),
                Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT | Keyword::MINUS => self.compounds += 1,
                _ => {}
            },
            Token::Placeholder(name) => parameter(name, bounds)?,
            _ => {}
        }
        if self.tokens > bounds.statement_tokens || self.run > RUN_TOKENS_MAX || self.compounds > COMPOUND_MAX {
            return Err(Denied::new(Reason::Tokens, ""));
        }
        if self.levels.len() > DEPTH_MAX { Err(Denied::new(Reason::Depth, "")) } else { Ok(()) }
    }

    fn open(&mut self, is_case: bool) {
        self.levels.push((is_case, self.run));
        self.run = 0;
    }

    /// A sign that closes nothing is the parser's to refuse.
    fn close(&mut self, is_case: bool) {
        if let Some((_, run)) = self.levels.pop_if(|level| level.0 == is_case) {
            self.run += run;
        }
    }
}

/// The number of a parameter, which is written `$1` to `$64` without zeros in front.
pub(super) fn parameter_number(name: &str) -> Result<u16, Denied> {
    let wrong = || Denied::new(Reason::Parameter, name);
    let digits = name.strip_prefix('$').ok_or_else(wrong)?;
    if digits.is_empty() || digits.starts_with('0') || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let many = || Denied::new(Reason::Parameters, "");
    let number = digits.parse().map_err(|_| many())?;
    if usize::from(number) > limits::PARAMETERS_MAX { Err(many()) } else { Ok(number) }
}

fn parameter(name: &str, bounds: &Bounds) -> Result<(), Denied> {
    parameter_number(name)?;
    if bounds.is_one_statement { Ok(()) } else { Err(Denied::new(Reason::Parameter, name)) }
}
