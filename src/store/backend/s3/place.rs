//! `s3://BUCKET[/PREFIX]`: how a person names a repository in a bucket.
//!
//! In: text. Out: a bucket, and the prefix that stands in front of every name. Invariant: two texts that name the same
//! place have the same form, so that messages and hints can be pasted.

use std::fmt;
use std::str::FromStr;

/// What stands before a bucket's name.
pub(in crate::store::backend) const SCHEME: &str = "s3://";

/// A bucket and a prefix in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct S3Place {
    bucket: String,
    /// Without `/` at either end; empty for the whole bucket.
    prefix: String,
}

/// Why a text names no place in a bucket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum S3PlaceError {
    /// It begins with something else.
    #[error("`{text}` does not begin with `s3://`")]
    NotS3 {
        /// As it was given.
        text: String,
    },
    /// There is no bucket in it, or no name that one can have.
    #[error("`{text}` names no bucket: after `s3://` come 3 to 63 small letters, digits, `.` and `-`")]
    BadBucket {
        /// As it was given.
        text: String,
    },
    /// Its prefix has a part that a URL or a folder takes for something else.
    #[error("`{text}` has an empty part, `.` or `..` in its prefix")]
    BadPrefix {
        /// As it was given.
        text: String,
    },
}

impl S3Place {
    /// The bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The key of a file of the repository.
    pub(super) fn key(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) }
    }

    /// Undoes [`S3Place::key`]; `None` for what lies elsewhere.
    pub(super) fn name<'a>(&self, key: &'a str) -> Option<&'a str> {
        if self.prefix.is_empty() {
            return Some(key);
        }
        key.strip_prefix(&self.prefix)?.strip_prefix('/')
    }

    /// The URL of one of its files.
    pub fn url(&self, name: &str) -> String {
        format!("{SCHEME}{}/{}", self.bucket, self.key(name))
    }
}

impl fmt::Display for S3Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

impl FromStr for S3Place {
    type Err = S3PlaceError;

    fn from_str(text: &str) -> Result<Self, S3PlaceError> {
        let Some(rest) = text.strip_prefix(SCHEME) else {
            return Err(S3PlaceError::NotS3 { text: text.to_owned() });
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(plain) {
            return Err(S3PlaceError::BadBucket { text: text.to_owned() });
        }
        if !prefix.is_empty() && prefix.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(S3PlaceError::BadPrefix { text: text.to_owned() });
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::S3Place;

    #[test]
    fn a_place_and_the_keys_in_it() {
        for (text, shown, key) in [
            ("s3://bucket", "s3://bucket", "log/1"),
            ("s3://bucket/", "s3://bucket", "log/1"),
            ("s3://my.bucket-1/a/b/", "s3://my.bucket-1/a/b", "a/b/log/1"),
        ] {
            let place: S3Place = text.parse().unwrap();
            assert_eq!((place.to_string().as_str(), place.key("log/1").as_str()), (shown, key));
            assert_eq!(place.name(key), Some("log/1"));
            assert_eq!(place.url("log/1"), format!("s3://{}/{key}", place.bucket()));
        }
        let place: S3Place = "s3://bucket/a".parse().unwrap();
        assert_eq!((place.name("ab/log/1"), place.name("a")), (None, None));
    }

    #[test]
    fn what_names_no_bucket_is_refused() {
        for text in
            ["", "bucket", "s3://", "s3:///a", "s3://ab", "s3://Bucket", "s3://a_b", "s3://bucket//a", "s3://bucket/.."]
        {
            assert!(text.parse::<S3Place>().is_err(), "{text}");
        }
    }
}
