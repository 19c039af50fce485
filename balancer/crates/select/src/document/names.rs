//! Names of resources while a document is read: each gets its slot once the whole document holds.

use crate::json::{ConfigError, Field};
use crate::resources::{RESOURCES, ResourceSlot};

/// All names that occur, each once.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<Box<str>>);

impl Names {
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }

    /// The place of a name, a new one for a name that did not occur yet.
    pub(super) fn place(&mut self, field: &Field<'_>, name: &str) -> Result<ResourceSlot, ConfigError> {
        let place = self.0.iter().position(|known| &**known == name).unwrap_or_else(|| {
            self.0.push(name.into());
            self.0.len() - 1
        });
        u8::try_from(place)
            .ok()
            .filter(|&place| place < RESOURCES)
            .map(ResourceSlot)
            .ok_or_else(|| field.error(format!("more than {RESOURCES} different names of resources")))
    }
}
