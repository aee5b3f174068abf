//! The settings file.

use std::env;
use std::path::{Path, PathBuf};

use super::{BucketArgs, BucketSettings, ConfigError, ServeArgs};
use crate::store::S3Url;

/// The file that is read where none is named and it is there.
const DEFAULT_FILE: &str = "sealslot.toml";

/// Where a server keeps what there is.
#[derive(Debug)]
pub enum DataPlace {
    /// In a data folder.
    Folder(PathBuf),
    /// In a bucket.
    Bucket(Box<BucketSettings>),
}

/// Where the server with these settings keeps what there is, for commands that work on it: as given, else what the file says.
///
/// As for a server, a bucket goes before a data folder that only the environment names.
pub fn data_place(
    data: Option<PathBuf>,
    store: Option<S3Url>,
    reached: BucketArgs,
    file: Option<&Path>,
) -> Result<DataPlace, ConfigError> {
    let (of_environment, data) = match data {
        Some(data) if is_of_environment(&data) => (Some(data), None),
        data => (None, data),
    };
    let file = match (data, store) {
        (Some(_), Some(_)) => {
            return Err(ConfigError::Conflict {
                setting: "store",
                other: "data",
            });
        }
        (Some(data), None) => return Ok(DataPlace::Folder(data)),
        (None, Some(store)) => ServeArgs {
            store: Some(store),
            ..read(file)?
        },
        (None, None) => read(file)?,
    };
    match &file.store {
        Some(store) => {
            let bucket = reached.or(&file).to(store.clone())?;
            Ok(DataPlace::Bucket(Box::new(bucket)))
        }
        None => Ok(DataPlace::Folder(
            of_environment
                .or(file.data)
                .unwrap_or_else(|| "data".into()),
        )),
    }
}

fn is_of_environment(data: &Path) -> bool {
    env::var_os("SEALSLOT_DATA").is_some_and(|named| named.as_os_str() == data.as_os_str())
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
