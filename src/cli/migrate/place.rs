//! Where things are carried from and to.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use super::super::stored::{open_bucket, open_bucket_to_read};
use super::super::{Exit, Failure};
use crate::config::BucketArgs;
use crate::store::{LocalReader, LocalStore, S3Url, S3UrlError, Shelf, Store, StoreError};

/// A data folder or a bucket, as it is named.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Folder(PathBuf),
    Bucket(S3Url),
}

impl FromStr for Place {
    type Err = S3UrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Nobody has a folder of this kind, and a URL of another kind would be taken for one.
        if text.contains("://") {
            text.parse().map(Self::Bucket)
        } else {
            Ok(Self::Folder(text.into()))
        }
    }
}

impl Place {
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bucket(one), Self::Bucket(other)) => one == other,
            (Self::Folder(one), Self::Folder(other)) => {
                let there =
                    |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
                there(one) == there(other)
            }
            _ => false,
        }
    }
}

/// Where things come from.
pub(super) struct Source {
    shelf: Arc<dyn Shelf>,
    to_delete: Option<Arc<dyn Store>>,
}

impl Source {
    /// Opens it: a folder beside the server that may be at work in it, where nothing is to be deleted.
    pub(super) fn open(
        place: &Place,
        reached: &BucketArgs,
        to_delete: bool,
    ) -> Result<Self, Failure> {
        let (shelf, store): (Arc<dyn Shelf>, Option<Arc<dyn Store>>) = match place {
            Place::Bucket(location) if to_delete => {
                let store = Arc::new(open_bucket(location.clone(), reached)?);
                (Arc::clone(&store) as _, Some(store as _))
            }
            Place::Bucket(location) => (open_bucket_to_read(location, reached)?.into(), None),
            Place::Folder(data) => {
                // First, because a store would make what is missing.
                let shelf = Arc::new(LocalReader::open(data)?);
                let store = to_delete.then(|| open_folder(data)).transpose()?;
                (shelf, store.map(|store| Arc::new(store) as _))
            }
        };
        Ok(Self {
            shelf,
            to_delete: store,
        })
    }

    pub(super) fn shelf(&self) -> &dyn Shelf {
        &*self.shelf
    }

    /// What is to be deleted from, where that is so.
    pub(super) fn to_delete(&self) -> Option<&dyn Store> {
        self.to_delete.as_deref()
    }
}

/// Where things go.
pub(super) fn open_target(place: &Place, reached: &BucketArgs) -> Result<Arc<dyn Store>, Failure> {
    match place {
        Place::Folder(data) => Ok(Arc::new(open_folder(data)?)),
        Place::Bucket(location) => Ok(Arc::new(open_bucket(location.clone(), reached)?)),
    }
}

fn open_folder(data: &Path) -> Result<LocalStore, Failure> {
    LocalStore::open(data).map_err(|error| match error {
        StoreError::Locked { folder } => Failure::new(
            Exit::Other,
            format_args!("a server is at work in {}: stop it first", folder.display()),
        ),
        error => error.into(),
    })
}
