//! Command lines of the form `--name value`: enough for programs that only developers start.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use thiserror::Error;

/// What is wrong with a command line, by the option's name.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum UsageError {
    /// An option without its value, or a word that is no option.
    #[error("{0}: expected --name value; --help tells the names")]
    Shape(String),
    /// The same option twice.
    #[error("--{0}: given twice")]
    Twice(String),
    /// An option that this program does not have.
    #[error("--{0}: there is no such option; --help tells the names")]
    Unknown(String),
    /// One that must be given.
    #[error("--{0}: missing")]
    Missing(&'static str),
    /// A value that cannot be read, or does not go with the others.
    #[error("--{name}: {problem}")]
    Value {
        /// The option.
        name: &'static str,
        /// What to write instead.
        problem: String,
    },
}

impl UsageError {
    /// A value that cannot be used, and why.
    pub fn value(name: &'static str, problem: impl Display) -> Self {
        Self::Value { name, problem: problem.to_string() }
    }
}

/// The options of a command line that nobody took yet.
#[derive(Debug)]
pub struct Options(BTreeMap<String, String>);

impl Options {
    /// Read a command line without the program's name; `None` where it asks for help.
    ///
    /// # Errors
    /// It is not made of options with values, or has one twice.
    pub fn read(words: impl IntoIterator<Item = String>) -> Result<Option<Self>, UsageError> {
        let mut options = BTreeMap::new();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            if word == "--help" || word == "-h" {
                return Ok(None);
            }
            let Some(name) = word.strip_prefix("--").filter(|name| !name.is_empty()) else {
                return Err(UsageError::Shape(word));
            };
            let Some(value) = words.next() else { return Err(UsageError::Shape(word)) };
            if options.insert(name.to_owned(), value).is_some() {
                return Err(UsageError::Twice(name.to_owned()));
            }
        }
        Ok(Some(Self(options)))
    }

    /// Take an option's value.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn take<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Result<Option<T>, UsageError> {
        let Some(text) = self.0.remove(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|error| UsageError::value(name, format!("{text:?}: {error}")))
    }

    /// Take the value of an option that must be there.
    ///
    /// # Errors
    /// It is missing, or cannot be read.
    pub fn require<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Result<T, UsageError> {
        self.take(name)?.ok_or(UsageError::Missing(name))
    }

    /// Take the values of an option that stand behind each other with commas.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn take_list<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Result<Vec<T>, UsageError> {
        let Some(text) = self.0.remove(name) else { return Ok(Vec::new()) };
        let read = |word: &str| word.parse().map_err(|error| UsageError::value(name, format!("{word:?}: {error}")));
        text.split(',').map(read).collect()
    }

    /// All options were taken.
    ///
    /// # Errors
    /// One was not.
    pub fn finish(self) -> Result<(), UsageError> {
        self.0.into_keys().next().map_or(Ok(()), |name| Err(UsageError::Unknown(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Option<Options>, UsageError> {
        Options::read(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn values_are_read_and_what_is_left_is_told() {
        let mut options = read("--rate 12.5 --to 1,2,3 --more x").unwrap().unwrap();
        assert_eq!(options.require::<f64>("rate"), Ok(12.5));
        assert_eq!(options.take_list::<u8>("to"), Ok(vec![1, 2, 3]));
        assert_eq!(options.take::<u8>("window"), Ok(None));
        assert_eq!(options.require::<u8>("proxy"), Err(UsageError::Missing("proxy")));
        assert_eq!(options.finish(), Err(UsageError::Unknown("more".into())));
    }

    #[test]
    fn a_bad_line_is_told_by_its_word() {
        assert_eq!(read("--rate").unwrap_err(), UsageError::Shape("--rate".into()));
        assert_eq!(read("rate 1").unwrap_err(), UsageError::Shape("rate".into()));
        assert_eq!(read("--rate 1 --rate 2").unwrap_err(), UsageError::Twice("rate".into()));
        assert!(read("--rate 1 --help").unwrap().is_none());
        let error = read("--rate fast").unwrap().unwrap().take::<f64>("rate").unwrap_err();
        assert_eq!(error.to_string(), "--rate: \"fast\": invalid float literal");
    }
}
