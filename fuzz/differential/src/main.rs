//! Compares the statement guard with PostgreSQL's own grammar: what the guard prints must be one statement of the same
//! kind to PostgreSQL, of listed nodes alone, with the tables, functions and types that the guard saw, and what the
//! author wrote must mean the same to PostgreSQL as what is printed.
//! `cargo run --release -- [inputs] [seed]`; it ends with 1 at the first disagreements. It runs no SQL.

#[path = "../../../runtime/database/tests/it/guard_cases.rs"]
mod cases;
mod grammar;
mod random;

use std::collections::BTreeMap;

use bulkhead_database::tenant::guard::{self, Checked, Kind};
use random::Random;

/// Disagreements that are shown.
const SHOWN_MAX: usize = 20;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>().expect("a number"));
    let inputs = arguments.next().unwrap_or(1_000_000);
    let mut random = Random::new(arguments.next().unwrap_or(1));
    let cases = words();

    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut disagreements = Vec::new();
    for _ in 0..inputs {
        let text = spliced(&cases, &mut random);
        let passed = passed(&text);
        let is_one = passed.len() == 1;
        for checked in passed {
            *counts.entry("passed").or_default() += 1;
            let kept = if is_one { grammar::keeps_meaning(&text, &checked) } else { Ok(()) };
            match grammar::compare(&checked).and(kept) {
                Ok(()) => *counts.entry("agreed").or_default() += 1,
                Err(difference) if difference == grammar::SQLITE_ALONE => {
                    *counts.entry("for SQLite alone").or_default() += 1;
                }
                Err(difference) if difference == grammar::TOO_DEEP => *counts.entry("too deep").or_default() += 1,
                Err(difference) => {
                    *counts.entry("disagreed").or_default() += 1;
                    disagreements.push(format!("{difference}\n  from {text:?}\n  sent {:?}", checked.text));
                }
            }
        }
    }

    disagreements.sort_by_key(|disagreement: &String| (disagreement.len(), disagreement.clone()));
    disagreements.dedup();
    for disagreement in disagreements.iter().take(SHOWN_MAX) {
        println!("{disagreement}");
    }
    println!("{inputs} inputs: {counts:?}");
    std::process::exit(i32::from(!disagreements.is_empty()));
}

/// What the guard lets through, read as a statement and as a script.
fn passed(text: &str) -> Vec<Checked> {
    let statement = guard::check(text, Kind::Execute).ok();
    let script = guard::check_script(text).unwrap_or_default();
    match statement {
        Some(checked) if script.first() == Some(&checked) => script,
        Some(checked) => script.into_iter().chain([checked]).collect(),
        None => script,
    }
}

/// The words and signs of each short statement of the guard's cases.
fn words() -> Vec<Vec<String>> {
    let cases = cases::all();
    let texts = cases.iter().flat_map(|case| &case.statements).filter(|text| text.len() < 400);
    texts.map(|text| cut(text)).filter(|words| !words.is_empty()).collect()
}

/// Cuts where a letter meets a sign or a blank.
fn cut(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut last = None;
    for c in text.chars() {
        let kind = if c.is_alphanumeric() || c == '_' {
            0
        } else if c.is_whitespace() {
            1
        } else {
            2
        };
        match words.last_mut() {
            Some(word) if last == Some(kind) && kind < 2 => word.push(c),
            _ => words.push(c.to_string()),
        }
        last = Some(kind);
    }
    words
}

/// A case in which some ranges of words were replaced by ranges of other cases.
fn spliced(cases: &[Vec<String>], random: &mut Random) -> String {
    let mut words = cases[random.below(cases.len())].clone();
    for _ in 0..random.below(4) {
        let other = &cases[random.below(cases.len())];
        let from = random.below(other.len());
        let piece = &other[from..(from + 1 + random.short()).min(other.len())];
        let at = random.below(words.len() + 1);
        let end = (at + random.short()).min(words.len());
        let piece: Vec<String> = if random.below(3) == 0 {
            piece.to_vec()
        } else {
            [" ".to_owned()].into_iter().chain(piece.iter().cloned()).chain([" ".to_owned()]).collect()
        };
        words.splice(at..end, piece);
    }
    words.concat()
}
