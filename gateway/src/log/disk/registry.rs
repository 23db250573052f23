//! The names of the destinations and their numbers in the log: `registry.json`.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    super::{DestinationId, LogError},
    files,
};

const VERSION: u32 = 1;

/// The file. A number is never given out twice, so that what an old segment says of one stays true.
#[derive(Debug)]
pub(super) struct Registry {
    path: PathBuf,
    content: Content,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Content {
    version: u32,
    next: u32,
    destinations: BTreeMap<String, u16>,
}

impl Registry {
    /// Reads the file; `None` when there is none.
    pub(super) fn load(path: &Path) -> Result<Option<Self>, LogError> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(files::at(path)(error)),
        };
        let content: Content =
            serde_json::from_slice(&text).map_err(|error| files::corrupt(path, format!("not a registry: {error}")))?;
        if content.version != VERSION {
            let reason = format!("version {}; this gateway reads version {VERSION}", content.version);
            return Err(files::corrupt(path, reason));
        }
        Ok(Some(Self {
            path: path.to_owned(),
            content,
        }))
    }

    /// Writes an empty file.
    pub(super) fn create(path: &Path) -> Result<Self, LogError> {
        let registry = Self {
            path: path.to_owned(),
            content: Content {
                version: VERSION,
                next: 0,
                destinations: BTreeMap::new(),
            },
        };
        registry.save(&registry.content)?;
        Ok(registry)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, DestinationId)> {
        let destinations = self.content.destinations.iter();
        destinations.map(|(name, id)| (name.as_str(), DestinationId(*id)))
    }

    /// The number that the next new name gets.
    pub(super) fn next(&self, name: &str) -> Result<DestinationId, LogError> {
        u16::try_from(self.content.next)
            .map(DestinationId)
            .map_err(|_| LogError::TooManyDestinations(name.to_owned()))
    }

    /// Gives the next number to a name.
    pub(super) fn add(&mut self, name: &str, id: DestinationId) -> Result<(), LogError> {
        let mut content = self.content.clone();
        content.next = u32::from(id.0) + 1;
        content.destinations.insert(name.to_owned(), id.0);
        self.save(&content)?;
        self.content = content;
        Ok(())
    }

    pub(super) fn remove(&mut self, id: DestinationId) -> Result<(), LogError> {
        let mut content = self.content.clone();
        content.destinations.retain(|_, number| *number != id.0);
        self.save(&content)?;
        self.content = content;
        Ok(())
    }

    fn save(&self, content: &Content) -> Result<(), LogError> {
        let text = serde_json::to_vec_pretty(content)
            .map_err(|error| files::corrupt(&self.path, format!("cannot be written: {error}")))?;
        files::replace(&self.path, &text)
    }
}
