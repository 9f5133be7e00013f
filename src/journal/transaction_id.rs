//! The name of a transaction: `20261125T031500Z-0a1b2c3d`.
//!
//! Invariant: whatever parses is one plain part of a path, since it becomes one in two places.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::store::{StoreError, random_hex};

const TIME: &str = "%Y%m%dT%H%M%SZ";
/// Bytes of the time, as `20261125T031500Z`.
const TIME_BYTES: usize = 16;
/// Random digits: transactions that begin in the same second, on machines whose clocks differ, are still two.
const RANDOM_DIGITS: usize = 8;

/// Names a transaction for good. Sorted by name is sorted by the clock of whoever began it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(String);

/// A text that names no transaction.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not a transaction such as `20261125T031500Z-0a1b2c3d`")]
pub struct NotATransaction {
    /// What was found instead.
    pub text: String,
}

impl TransactionId {
    /// A new name.
    ///
    /// # Errors
    /// This machine gives no random bytes.
    pub fn new(begins: Timestamp) -> Result<Self, StoreError> {
        let random = random_hex(RANDOM_DIGITS / 2)?;
        Ok(Self(format!("{}-{random}", begins.to_zoned(TimeZone::UTC).strftime(TIME))))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TransactionId {
    type Err = NotATransaction;

    fn from_str(text: &str) -> Result<Self, NotATransaction> {
        let is_one = || {
            let (time, random) = text.split_once('-')?;
            let digits = random.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            if time.len() != TIME_BYTES || random.len() != RANDOM_DIGITS || !digits {
                return None;
            }
            // The parser takes more than one spelling of the same time; only one of them is a name.
            let parsed = DateTime::strptime(TIME, time).ok()?;
            (parsed.strftime(TIME).to_string() == time).then_some(())
        };
        match is_one() {
            Some(()) => Ok(Self(text.to_owned())),
            None => Err(NotATransaction { text: text.chars().take(80).collect() }),
        }
    }
}

impl serde::Serialize for TransactionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for TransactionId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{Timestamp, TransactionId};

    #[test]
    fn a_new_name_parses_and_no_other_text_does() {
        let moment: Timestamp = "2026-11-25T03:15:00.5Z".parse().unwrap();
        let id = TransactionId::new(moment).unwrap();
        assert!(id.as_str().starts_with("20261125T031500Z-"), "{id}");
        assert_eq!(id.as_str().parse::<TransactionId>().unwrap(), id);
        assert_ne!(TransactionId::new(moment).unwrap(), id);
        for wrong in [
            "",
            "..",
            "20261125T031500Z-0a1b2c3d/..",
            "../20261125T031500Z-0a1b2c3d",
            "20261125T031500Z-0A1b2c3d",
            "20261125T031500Z-0a1b2c3",
            "20261125T031500Z-0a1b2c3d\n",
            "20261325T031500Z-0a1b2c3d",
            "20260230T031500Z-0a1b2c3d",
            "20261125T256100Z-0a1b2c3d",
            "20261125T0315 0Z-0a1b2c3d",
            "+0261125T031500Z-0a1b2c3d",
            "20261125T031500Z+0a1b2c3d",
        ] {
            let refused = wrong.parse::<TransactionId>().unwrap_err();
            assert!(refused.to_string().ends_with("is not a transaction such as `20261125T031500Z-0a1b2c3d`"));
        }
    }
}
