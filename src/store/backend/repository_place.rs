//! Where a repository is: a folder, or a place in a bucket.
//!
//! In: what a person typed or configured. Out: the storage behind it, and the names of single files as tools take them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::s3::SCHEME;
use super::{Backend, BackendError, LocalBackend, S3Backend, S3Options, S3Place, S3PlaceError};

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepositoryPlace {
    /// A folder.
    Folder(PathBuf),
    /// A bucket, or a part of one.
    Bucket(S3Place),
}

impl RepositoryPlace {
    /// `s3://…` is a bucket, all else a folder.
    ///
    /// # Errors
    /// It begins with `s3://` and names no bucket.
    pub fn parse(text: PathBuf) -> Result<Self, S3PlaceError> {
        match text.to_str().filter(|_| Self::is_bucket(&text)) {
            Some(text) => Ok(Self::Bucket(text.parse()?)),
            None => Ok(Self::Folder(text)),
        }
    }

    /// It means a bucket, even where it names none.
    pub fn is_bucket(text: &Path) -> bool {
        text.to_str().is_some_and(|text| text.starts_with(SCHEME))
    }

    /// One of its files, as a path or a URL.
    pub fn file(&self, name: &str) -> String {
        match self {
            Self::Folder(folder) => folder.join(name).display().to_string(),
            Self::Bucket(place) => place.url(name),
        }
    }

    /// The storage; nothing is read or made yet.
    ///
    /// # Errors
    /// The options cannot be used.
    pub async fn open(&self, options: &S3Options) -> Result<Arc<dyn Backend>, BackendError> {
        Ok(match self {
            Self::Folder(folder) => Arc::new(LocalBackend::new(folder)),
            Self::Bucket(place) => Arc::new(S3Backend::new(place.clone(), options).await?),
        })
    }
}

impl fmt::Display for RepositoryPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(f),
            Self::Bucket(place) => place.fmt(f),
        }
    }
}
