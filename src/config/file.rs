//! The settings file.

use std::path::{Path, PathBuf};

use super::{ConfigError, ServeArgs};

/// The file that is read where none is named and it is there.
const DEFAULT_FILE: &str = "sealslot.toml";

/// The data folder of the server with these settings, for commands that work on it: as given, else what the file says.
pub fn data_folder(given: Option<PathBuf>, file: Option<&Path>) -> Result<PathBuf, ConfigError> {
    let given = match given {
        Some(given) => Some(given),
        None => read(file)?.data,
    };
    Ok(given.unwrap_or_else(|| "data".into()))
}

pub(super) fn read(named: Option<&Path>) -> Result<ServeArgs, ConfigError> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(ServeArgs::default());
        }
        Err(source) => {
            return Err(ConfigError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    toml::from_str(&text).map_err(|error| {
        let line = error
            .span()
            .map_or(0, |span| text[..span.start].matches('\n').count() + 1);
        let message = error.message().replace('\n', " ");
        ConfigError::File {
            path: path.to_owned(),
            message: format!("line {line}: {message}"),
        }
    })
}
