//! Counts that nothing of what the author wrote was lost on the way to the printed text: the parser swallows some words
//! of dialects that it was not asked to read. What was added is the printer's matter.

use std::collections::HashMap;

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::denied::{Denied, Reason};

/// Words that change nothing, or whose meaning is printed with other words. Sorted.
const MAY_GO: &[&str] = &[
    "all",
    "as",
    "both",
    "character",
    "column",
    "distinct",
    "fetch",
    "first",
    "for",
    "from",
    "inner",
    "leading",
    "limit",
    "next",
    "only",
    "outer",
    "restrict",
    "row",
    "rows",
    "time",
    "timestamp",
    "trailing",
    "trim",
    "type",
    "varying",
    "with",
    "without",
    "zone",
];

/// Each word, number and parameter of the author must be printed as often as it was written.
pub(super) fn check<'a>(
    written: impl Iterator<Item = &'a TokenWithSpan>,
    printed: &[TokenWithSpan],
) -> Result<(), Denied> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for word in printed.iter().filter_map(|token| word(&token.token)) {
        *counts.entry(word).or_default() += 1;
    }
    for word in written.filter_map(|token| word(&token.token)) {
        if MAY_GO.binary_search(&word.as_str()).is_ok() {
            continue;
        }
        match counts.get_mut(&word) {
            Some(count) if *count > 0 => *count -= 1,
            _ => return Err(Denied::new(Reason::Clause, &word)),
        }
    }
    Ok(())
}

fn word(token: &Token) -> Option<String> {
    match token {
        Token::Word(word) => Some(word.value.to_ascii_lowercase()),
        Token::Number(digits, _) => Some(digits.clone()),
        Token::Placeholder(name) => Some(name.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted() {
        assert!(MAY_GO.is_sorted());
    }
}
