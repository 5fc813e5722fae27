//! Reads the case files of `tests/data/guard`.
//! What is wanted of a case is its file's matter.

use std::fmt;

/// One case: a statement, or a sequence of them.
pub(crate) struct Case {
    file: &'static str,
    line: usize,
    /// Its name.
    pub(crate) name: &'static str,
    /// Its statements in order.
    pub(crate) statements: Vec<String>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} ({})", self.file, self.line, self.name)
    }
}

impl Case {
    /// The statements as one script.
    pub(crate) fn script(&self) -> String {
        self.statements.join(";\n")
    }
}

macro_rules! case_files {
    ($($name:ident, $file:literal;)+) => {
        $(
            #[doc = concat!("The cases of `", $file, "`.")]
            pub(crate) fn $name() -> Vec<Case> {
                read($file, include_str!(concat!("../data/guard/", $file)))
            }
        )+

        /// The cases of all files.
        pub(crate) fn all() -> Vec<Case> {
            [$($name()),+].into_iter().flatten().collect()
        }
    };
}

case_files! {
    benign, "benign.txt";
    benign_postgres, "benign_postgres.txt";
    bombs, "bombs.txt";
    functions, "functions.txt";
    functions_postgres, "functions_postgres.txt";
    functions_sqlite, "functions_sqlite.txt";
    hostile_both, "hostile_both.txt";
    hostile_postgres, "hostile_postgres.txt";
    hostile_sqlite, "hostile_sqlite.txt";
    migrations_good, "migrations_good.txt";
    migrations_good_postgres, "migrations_good_postgres.txt";
    migrations_good_postgres_alone, "migrations_good_postgres_alone.txt";
    migrations_good_sqlite, "migrations_good_sqlite.txt";
    migrations_hostile, "migrations_hostile.txt";
    setup, "setup.txt";
}

fn read(file: &'static str, text: &'static str) -> Vec<Case> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty() && !line.starts_with("-- "));
    lines
        .map(|(number, line)| {
            let (name, sequence) = line.split_once('|').unwrap_or_else(|| panic!("{file}:{number}: no name"));
            let sequence = expand(sequence.trim());
            let statements = sequence.split(";;").map(|statement| statement.trim().to_owned());
            // Cases about empty statements are texts of their own.
            let is_sequence = sequence.contains(" ;; ") || sequence.ends_with("1;;");
            let statements = if is_sequence { statements.collect() } else { vec![sequence] };
            Case { file, line: number, name: name.trim(), statements }
        })
        .collect()
}

fn expand(text: &str) -> String {
    let mut expanded = String::new();
    for (place, part) in text.split("%%").enumerate() {
        match part.split_once(':').filter(|_| place % 2 == 1) {
            Some((count, piece)) => expanded.push_str(&piece.repeat(count.parse().unwrap())),
            None => expanded.push_str(part),
        }
    }
    let plain = expanded.replace("\\0", "\0").replace("\\n", "\n").replace("\\r", "\r");
    let mut pieces = plain.split("\\u{");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (number, rest) = piece.split_once('}').unwrap();
        text.push(u32::from_str_radix(number, 16).ok().and_then(char::from_u32).unwrap());
        text.push_str(rest);
    }
    text
}
