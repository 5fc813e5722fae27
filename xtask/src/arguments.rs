//! Takes flags off a command line.
//!
//! It knows no command: each takes what it understands and refuses the rest.

use crate::{Error, terminal};

/// The words after the command, in their order.
pub(crate) struct Arguments {
    words: Vec<String>,
}

impl Arguments {
    pub(crate) fn new(words: Vec<String>) -> Arguments {
        Arguments { words }
    }

    /// Whether the person asks for help.
    pub(crate) fn wants_help(&self) -> bool {
        self.has("--help") || self.has("-h")
    }

    /// Whether `flag` is there; it stays.
    pub(crate) fn has(&self, flag: &str) -> bool {
        self.words.iter().any(|word| word == flag)
    }

    /// Takes `flag` out and says whether it was there.
    pub(crate) fn take(&mut self, flag: &str) -> bool {
        let before = self.words.len();
        self.words.retain(|word| word != flag);
        self.words.len() < before
    }

    /// Refuses whatever was not taken.
    ///
    /// # Errors
    /// [`Error::Usage`] with the first word left.
    pub(crate) fn nothing_left(&self) -> Result<(), Error> {
        match self.words.first() {
            None => Ok(()),
            Some(word) => Err(Error::Usage(format!("`{word}` is not understood; --help lists the options"))),
        }
    }

    /// The words left, for another program.
    pub(crate) fn rest(self) -> Vec<String> {
        self.words
    }
}

/// Shows a help text.
///
/// # Errors
/// None; the type fits the commands'.
pub(crate) fn show(help: &str) -> Result<(), Error> {
    terminal::line(help.trim_end());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_is_taken_once_and_what_is_left_is_refused() {
        let mut arguments = Arguments::new(vec!["--smoke".to_owned(), "--sloow".to_owned()]);

        assert!(arguments.has("--smoke") && !arguments.has("--postgres"));
        assert!(arguments.take("--smoke"));
        assert!(!arguments.take("--smoke"));
        assert!(matches!(arguments.nothing_left(), Err(Error::Usage(text)) if text.contains("`--sloow`")));
    }
}
