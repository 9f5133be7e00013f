//! Secrets: named in the configuration, read when they are needed, never shown.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::error::ConfigError;

/// Where a secret is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    /// In an environment variable.
    Env(String),
    /// In a file, whose last line break is not part of it.
    File(PathBuf),
}

/// A secret's value.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value, for whoever has to send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl SecretRef {
    /// Reads the secret. `key` is its place in the configuration, for errors; relative paths begin in `folder`.
    ///
    /// # Errors
    /// The variable is not set, or the file cannot be read or is empty.
    pub fn resolve(&self, key: &'static str, folder: &Path) -> Result<Secret, ConfigError> {
        match self {
            Self::Env(variable) => match std::env::var(variable) {
                Ok(value) if !value.is_empty() => Ok(Secret(value)),
                _ => Err(ConfigError::SecretVariable { key, variable: variable.clone() }),
            },
            Self::File(path) => {
                let path = folder.join(path);
                let text = std::fs::read_to_string(&path).map_err(|source| ConfigError::SecretFile {
                    key,
                    path: path.clone(),
                    source,
                })?;
                let value = text.trim_end_matches(['\n', '\r']);
                if value.is_empty() {
                    return Err(ConfigError::SecretEmpty { key, path });
                }
                Ok(Secret(value.to_owned()))
            }
        }
    }
}

/// Where it is kept, for people: `environment variable NAME`, `file PATH`.
impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(variable) => write!(f, "environment variable `{variable}`"),
            Self::File(path) => write!(f, "file `{}`", path.display()),
        }
    }
}

/// Said in place of whatever was written there: the value itself must not come back in an error.
const INLINE: &str = "a secret is not written into the configuration, where copies and version control would keep it: \
                      write `{env: NAME}` or `{file: PATH}`";

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reference)
    }
}

struct Reference;

impl<'de> Visitor<'de> for Reference {
    type Value = SecretRef;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`{env: NAME}` or `{file: PATH}`")
    }

    // Every scalar has its own refusal: serde's own would repeat the value.
    fn visit_str<E: de::Error>(self, _: &str) -> Result<SecretRef, E> {
        Err(E::custom(INLINE))
    }
    fn visit_bytes<E: de::Error>(self, _: &[u8]) -> Result<SecretRef, E> {
        Err(E::custom(INLINE))
    }
    fn visit_bool<E: de::Error>(self, _: bool) -> Result<SecretRef, E> {
        Err(E::custom(INLINE))
    }
    fn visit_u64<E: de::Error>(self, _: u64) -> Result<SecretRef, E> {
        Err(E::custom(INLINE))
    }
    fn visit_i64<E: de::Error>(self, _: i64) -> Result<SecretRef, E> {
        Err(E::custom(INLINE))
    }
    fn visit_u128<E: de::Error>(self, _: u128) -> Result<SecretRef, E> {
        Err(E::custom(INLINE))
    }
    fn visit_i128<E: de::Error>(self, _: i128) -> Result<SecretRef, E> {
        Err(E::custom(INLINE))
    }
    fn visit_f64<E: de::Error>(self, _: f64) -> Result<SecretRef, E> {
        Err(E::custom(INLINE))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SecretRef, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            let reference = match key.as_str() {
                "env" => SecretRef::Env(map.next_value()?),
                "file" => SecretRef::File(map.next_value()?),
                _ => return Err(de::Error::custom("expected `{env: NAME}` or `{file: PATH}`")),
            };
            if found.replace(reference).is_some() {
                return Err(de::Error::custom("expected one of `env` and `file`, and there are two"));
            }
        }
        found.ok_or_else(|| de::Error::custom("expected `{env: NAME}` or `{file: PATH}`"))
    }
}
