//! The guide for a security reviewer's day, word for word: its commands in one shell against a real host, its answers
//! compared. It knows no command; `docs/guides/reviewers-day.md` has them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use bulkhead_testkit::binary::Bulkhead;
use bulkhead_testkit::programs;

const GUIDE: &str = include_str!("../../../../docs/guides/reviewers-day.md");
/// What the shell says after each block, with the exit code.
const END: &str = "== end of block";

/// A fenced block of the guide.
#[derive(Debug, PartialEq, Eq)]
enum Block<'a> {
    /// Starts the host.
    Serve,
    /// Commands, and the exit code of the last one.
    Commands { text: &'a str, code: i32 },
    /// Lines that the commands before it print, in this order; `...` stands for anything.
    Answer(&'a str),
}

#[test]
fn a_reviewers_day_goes_as_the_guide_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut shell = Shell::at(folder.path());
    let mut host = None;
    let mut last = String::new();
    for block in blocks(GUIDE) {
        match block {
            Block::Serve => {
                let bulkhead = Bulkhead::at(folder.path()).env("BULKHEAD__SERVER__METRICS_LISTEN", "127.0.0.1:0");
                let served = bulkhead.serve(["--listen", "127.0.0.1:0"]);
                shell.run(&format!("export BULKHEAD_SERVER={}", served.base()));
                host = Some(served);
            }
            Block::Commands { text, code } => {
                let (printed, ended) = shell.run(text);
                assert_eq!(ended, code, "$ {text}\n{printed}");
                last = printed;
            }
            Block::Answer(wanted) => assert!(is_in_order(wanted, &last), "{wanted}\nis not in\n{last}"),
        }
    }
    assert_eq!(host.unwrap().end(), Some(0));
}

#[test]
fn an_answer_of_the_guide_is_compared_line_by_line() {
    let printed = "one 1\ntwo\nthree 3 drei\n";
    for wanted in ["one 1\n", "two\nthree...drei\n", "...1\n...ee 3...\n", "...\n"] {
        assert!(is_in_order(wanted, printed), "{wanted}");
    }
    for wanted in ["one\n", "two\none 1\n", "three...zwei\n", "four\n", "...3\n", "drei...three\n"] {
        assert!(!is_in_order(wanted, printed), "{wanted}");
    }
}

fn blocks(guide: &str) -> Vec<Block<'_>> {
    let mut parts = guide.split("\n```").skip(1);
    let mut blocks = Vec::new();
    while let (Some(block), Some(_)) = (parts.next(), parts.next()) {
        let (head, text) = block.split_once('\n').unwrap();
        blocks.push(match head.split_once(' ').unwrap_or((head, "")) {
            ("sh", "serve") => Block::Serve,
            ("sh", "") => Block::Commands { text, code: 0 },
            ("sh", code) => Block::Commands { text, code: code.strip_prefix("exit=").unwrap().parse().unwrap() },
            ("text", "") => Block::Answer(text),
            other => panic!("a block of the guide is none of `sh`, `sh serve`, `sh exit=N`, `text`: {other:?}"),
        });
    }
    blocks
}

/// Whether each wanted line is among the printed ones, behind the one before.
fn is_in_order(wanted: &str, printed: &str) -> bool {
    let mut printed = printed.lines();
    wanted.lines().all(|wanted| printed.any(|line| is_like(wanted, line)))
}

fn is_like(wanted: &str, line: &str) -> bool {
    let pieces: Vec<&str> = wanted.split("...").collect();
    let [start, middle @ .., end] = &pieces[..] else { return wanted == line };
    let Some(mut rest) = line.strip_prefix(start) else { return false };
    for piece in middle {
        let Some((_, behind)) = rest.split_once(piece) else { return false };
        rest = behind;
    }
    rest.ends_with(end)
}

/// One shell for the whole guide, as its reader has one.
struct Shell {
    process: Child,
    commands: ChildStdin,
    printed: BufReader<ChildStdout>,
}

impl Shell {
    fn at(folder: &Path) -> Self {
        let programs = programs::bulkhead().parent().unwrap().to_owned();
        let path = std::env::join_paths(
            [programs].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
        );
        let mut process = Command::new("bash")
            .arg("--norc")
            .current_dir(folder)
            .env("PATH", path.unwrap())
            .env_remove("BULKHEAD_TOKEN")
            .env_remove("BULKHEAD_SERVER")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (commands, printed) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        let mut shell = Self { process, commands, printed };
        shell.run("exec 2>&1");
        shell
    }

    /// Runs a block; what it printed, and the exit code of its first command that failed, or 0.
    fn run(&mut self, block: &str) -> (String, i32) {
        let before = "first=0; trap 'code=$?; [ $first != 0 ] || first=$code' ERR";
        writeln!(self.commands, "{before}\n{block}\ntrap - ERR; echo \"{END} $first\"").unwrap();
        let mut printed = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.printed.read_line(&mut line).unwrap(), 0, "the shell ended: {printed}");
            if let Some((before, code)) = line.split_once(END) {
                printed.push_str(before);
                return (printed, code.trim().parse().unwrap());
            }
            printed.push_str(&line);
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
