//! Strict reading of JSON documents: every value is asked for by name, type and bounds; whatever was not asked for is
//! an error; every error carries the JSON pointer (RFC 6901) of the value that it is about.

use core::ops::RangeInclusive;
use core::time::Duration;

use serde_json::{Map, Value};

/// What is wrong in a document, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {message}")]
pub struct ConfigError {
    /// JSON pointer of the value; empty = the whole document.
    pub pointer: String,
    /// What was found and what is accepted.
    pub message: String,
}

/// A value with its place in the document.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    value: &'a Value,
    pointer: String,
}

/// Parses the text.
///
/// # Errors
/// [`ConfigError`] at the root where it is no JSON.
pub fn parse(bytes: &[u8]) -> Result<Value, ConfigError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ConfigError { pointer: String::new(), message: format!("not JSON: {error}") })
}

impl<'a> Field<'a> {
    /// The whole document.
    pub const fn root(value: &'a Value) -> Self {
        Self { value, pointer: String::new() }
    }

    /// An error about this value.
    pub fn error(&self, message: impl Into<String>) -> ConfigError {
        ConfigError { pointer: self.pointer.clone(), message: message.into() }
    }

    fn expected(&self, what: &str) -> ConfigError {
        let found = match self.value {
            Value::Null => "null".to_owned(),
            Value::Bool(_) | Value::Number(_) => self.value.to_string(),
            Value::String(_) => "a string".to_owned(),
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "an object".to_owned(),
        };
        self.error(format!("expected {what}, found {found}"))
    }

    /// `None` for null.
    pub fn non_null(self) -> Option<Self> {
        (!self.value.is_null()).then_some(self)
    }

    /// An object, to be read field by field.
    ///
    /// # Errors
    /// When it is something else.
    pub fn object(&self) -> Result<Object<'a>, ConfigError> {
        let map = self.value.as_object().ok_or_else(|| self.expected("an object"))?;
        Ok(Object { map, pointer: self.pointer.clone(), asked: Vec::with_capacity(map.len()) })
    }

    /// The items of a list.
    ///
    /// # Errors
    /// When it is something else, or longer than `most`.
    pub fn list(&self, most: usize) -> Result<Vec<Self>, ConfigError> {
        let items = self.value.as_array().ok_or_else(|| self.expected("a list"))?;
        if items.len() > most {
            return Err(self.error(format!("expected at most {most} items, found {}", items.len())));
        }
        let item = |(index, value)| Self { value, pointer: format!("{}/{index}", self.pointer) };
        Ok(items.iter().enumerate().map(item).collect())
    }

    /// The entries of an object whose names are the document's own.
    ///
    /// # Errors
    /// When it is something else, or has more than `most`.
    pub fn entries(&self, most: usize) -> Result<Vec<(&'a str, Self)>, ConfigError> {
        let map = self.value.as_object().ok_or_else(|| self.expected("an object"))?;
        if map.len() > most {
            return Err(self.error(format!("expected at most {most} entries, found {}", map.len())));
        }
        let entry = |(name, value): (&'a String, &'a Value)| {
            (name.as_str(), Self { value, pointer: format!("{}/{}", self.pointer, escaped(name)) })
        };
        Ok(map.iter().map(entry).collect())
    }

    /// A string.
    ///
    /// # Errors
    /// When it is something else.
    pub fn string(&self) -> Result<&'a str, ConfigError> {
        self.value.as_str().ok_or_else(|| self.expected("a string"))
    }

    /// A string that is not empty.
    ///
    /// # Errors
    /// When it is something else.
    pub fn name(&self) -> Result<&'a str, ConfigError> {
        self.string().and_then(|text| if text.is_empty() { Err(self.error("must not be empty")) } else { Ok(text) })
    }

    /// A string that `parse` takes.
    ///
    /// # Errors
    /// When it is no string, or `parse` refuses it.
    pub fn parsed<T, E: core::fmt::Display>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<T, ConfigError> {
        parse(self.string()?).map_err(|error| self.error(error.to_string()))
    }

    /// true or false.
    ///
    /// # Errors
    /// When it is something else.
    pub fn boolean(&self) -> Result<bool, ConfigError> {
        self.value.as_bool().ok_or_else(|| self.expected("true or false"))
    }

    /// A whole number within bounds.
    ///
    /// # Errors
    /// When it is something else or out of bounds.
    pub fn integer<T: TryFrom<i128> + Copy + Into<i128>>(&self, bounds: RangeInclusive<T>) -> Result<T, ConfigError> {
        let (low, high): (i128, i128) = ((*bounds.start()).into(), (*bounds.end()).into());
        let number = self.value.as_i64().map(i128::from).or_else(|| self.value.as_u64().map(i128::from));
        number
            .filter(|number| (low..=high).contains(number))
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| self.expected(&format!("a whole number from {low} to {high}")))
    }

    /// A finite number within bounds.
    ///
    /// # Errors
    /// When it is something else or out of bounds.
    pub fn number(&self, bounds: RangeInclusive<f64>) -> Result<f64, ConfigError> {
        self.value.as_f64().filter(|number| number.is_finite() && bounds.contains(number)).ok_or_else(|| {
            let (low, high) = (bounds.start(), bounds.end());
            self.expected(&format!("a number from {low} to {high}"))
        })
    }

    /// A duration in whole milliseconds within bounds.
    ///
    /// # Errors
    /// When it is something else or out of bounds.
    pub fn millis(&self, bounds: RangeInclusive<u32>) -> Result<Duration, ConfigError> {
        self.integer(bounds).map(|millis| Duration::from_millis(millis.into()))
    }
}

/// An object whose fields are asked for one by one; [`Object::finish`] refuses the rest.
#[derive(Debug)]
pub struct Object<'a> {
    map: &'a Map<String, Value>,
    pointer: String,
    asked: Vec<&'static str>,
}

impl<'a> Object<'a> {
    /// A field that must be there.
    ///
    /// # Errors
    /// When it is not.
    pub fn required(&mut self, name: &'static str) -> Result<Field<'a>, ConfigError> {
        self.get(name).ok_or_else(|| self.error(format!("the field {name:?} is missing")))
    }

    /// A field that may be absent or null.
    pub fn optional(&mut self, name: &'static str) -> Option<Field<'a>> {
        self.get(name).and_then(Field::non_null)
    }

    /// Every field was asked for.
    ///
    /// # Errors
    /// Names the first that was not.
    pub fn finish(self) -> Result<(), ConfigError> {
        match self.map.keys().find(|key| !self.asked.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(ConfigError {
                pointer: format!("{}/{}", self.pointer, escaped(key)),
                message: format!("unknown field; accepted are {}", self.asked.join(", ")),
            }),
        }
    }

    /// An error about the object as a whole.
    pub fn error(&self, message: impl Into<String>) -> ConfigError {
        ConfigError { pointer: self.pointer.clone(), message: message.into() }
    }

    fn get(&mut self, name: &'static str) -> Option<Field<'a>> {
        self.asked.push(name);
        let value = self.map.get(name)?;
        Some(Field { value, pointer: format!("{}/{}", self.pointer, escaped(name)) })
    }
}

/// RFC 6901 §3.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
