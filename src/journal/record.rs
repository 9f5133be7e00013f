//! One record: one line of JSON, sealed by its own SHA-256 and chained to the line before.
//!
//! In and out: the exact bytes, as `docs/journal-format.md` draws them.
//! Invariants: a line that was changed in any way is refused, the newest too, which no later record vouches for; a
//! whole line that this program would have written otherwise is a later program's, and is refused as such.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::event::{Event, KINDS};
use super::transaction_id::TransactionId;
use super::transition::IllegalEvent;
use crate::store::ContentHash;

/// The format of a record.
pub(super) const FORMAT: u32 = 1;
const SEAL_KEY: &str = "\"sha256\":\"";
const SEAL_END: &str = "\"}\n";
const SEAL_BYTES: usize = SEAL_KEY.len() + 64 + SEAL_END.len();

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The transaction it belongs to.
    pub transaction: TransactionId,
    /// From 0 on, without a gap.
    pub number: u64,
    /// SHA-256 of the exact bytes of the record before, its line feed included; none in record 0.
    pub previous: Option<ContentHash>,
    /// When it was written, by the clock of who wrote it. Nothing depends on it: clocks jump.
    pub time: Timestamp,
    /// What happened.
    pub event: Event,
}

/// A line that is not the record that belongs there.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It is not what was written.
    #[error("record {number} is damaged: {what}")]
    Damaged {
        /// Its place in the journal.
        number: u64,
        /// What was found.
        what: &'static str,
    },
    /// It is not there, though a later one is.
    #[error("record {number} is missing, and a later one is there")]
    Missing {
        /// Its place in the journal.
        number: u64,
    },
    /// It is whole, but does not belong where it lies.
    #[error("record {number} does not belong there: {what}")]
    Misplaced {
        /// Its place in the journal.
        number: u64,
        /// What was found.
        what: String,
    },
    /// It has a format of a later program.
    #[error("record {number} has format {found}, and this program reads format {known}")]
    NewerFormat {
        /// Its place in the journal.
        number: u64,
        /// Its format.
        found: u64,
        /// The format that this program knows.
        known: u32,
    },
    /// It is whole, but says something that only a later program can have written.
    #[error("record {number} is whole, and this program does not know what it says: {what}")]
    NotUnderstood {
        /// Its place in the journal.
        number: u64,
        /// What it is about.
        what: String,
    },
    /// It cannot follow the records before it.
    #[error("record {number} cannot follow the records before it")]
    Illegal {
        /// Its place in the journal.
        number: u64,
        /// Why.
        #[source]
        source: IllegalEvent,
    },
}

impl RecordError {
    /// Its place in the journal.
    pub const fn number(&self) -> u64 {
        match self {
            Self::Damaged { number, .. }
            | Self::Missing { number }
            | Self::Misplaced { number, .. }
            | Self::NewerFormat { number, .. }
            | Self::NotUnderstood { number, .. }
            | Self::Illegal { number, .. } => *number,
        }
    }

    /// A later program wrote it: no damage.
    pub const fn is_newer(&self) -> bool {
        matches!(self, Self::NewerFormat { .. } | Self::NotUnderstood { .. })
    }
}

/// The line up to its seal, in the order of its keys.
#[derive(Serialize)]
struct Unsealed<'a> {
    format: u32,
    transaction: &'a TransactionId,
    number: u64,
    previous: Option<ContentHash>,
    time: Timestamp,
    event: &'a Event,
}

/// What must be understood before anything else is looked at.
#[derive(Deserialize)]
struct Format {
    format: u64,
}

#[derive(Deserialize)]
struct Sealed<'a> {
    transaction: TransactionId,
    number: u64,
    previous: Option<ContentHash>,
    time: Timestamp,
    #[serde(borrow)]
    event: &'a RawValue,
}

impl Record {
    /// The bytes to store: one line with its line feed.
    ///
    /// # Errors
    /// None that is known: everything in a record has a JSON form.
    pub fn to_line(&self) -> Result<Vec<u8>, serde_json::Error> {
        let Self { transaction, number, previous, time, event } = self;
        let unsealed =
            Unsealed { format: FORMAT, transaction, number: *number, previous: *previous, time: *time, event };
        let mut line = serde_json::to_vec(&unsealed)?;
        // The seal is the last member of the same object.
        line.pop();
        line.push(b',');
        let seal = ContentHash::of(&line);
        line.extend_from_slice(format!("{SEAL_KEY}{seal}{SEAL_END}").as_bytes());
        Ok(line)
    }

    /// Reads the line at a place in a transaction's journal. Whether it follows the line before is not looked at.
    ///
    /// # Errors
    /// It is not the record that belongs there.
    pub fn parse(transaction: &TransactionId, number: u64, line: &[u8]) -> Result<Self, RecordError> {
        let text = unseal(line).map_err(|what| RecordError::Damaged { number, what })?;
        let not_understood = |what: String| RecordError::NotUnderstood { number, what };
        let malformed = |error: serde_json::Error| not_understood(error.to_string());
        let Format { format: found } = serde_json::from_str(text).map_err(malformed)?;
        if found > u64::from(FORMAT) {
            return Err(RecordError::NewerFormat { number, found, known: FORMAT });
        }
        let sealed: Sealed<'_> = serde_json::from_str(text).map_err(malformed)?;
        let kinds: BTreeMap<String, &RawValue> = serde_json::from_str(sealed.event.get()).map_err(malformed)?;
        if let Some(unknown) = kinds.keys().find(|kind| !KINDS.contains(&kind.as_str())) {
            return Err(not_understood(format!("the event `{unknown}`")));
        }
        let event = serde_json::from_str(sealed.event.get()).map_err(malformed)?;
        let record = Self {
            transaction: sealed.transaction,
            number: sealed.number,
            previous: sealed.previous,
            time: sealed.time,
            event,
        };
        if record.to_line().map_err(malformed)? != line {
            return Err(not_understood("it is not in the form that this program writes".to_owned()));
        }
        let misplaced = |what: String| Err(RecordError::Misplaced { number, what });
        if record.transaction != *transaction {
            return misplaced(format!("it says it belongs to transaction {}", record.transaction));
        }
        if record.number != number {
            return misplaced(format!("it says it is record {}", record.number));
        }
        Ok(record)
    }
}

/// Checks the seal of a line.
fn unseal(line: &[u8]) -> Result<&str, &'static str> {
    let text = std::str::from_utf8(line).map_err(|_| "it is not text")?;
    let at = text.len().checked_sub(SEAL_BYTES).ok_or("it is too short")?;
    let (above, seal) = text.split_at_checked(at).ok_or("it does not end with a SHA-256")?;
    let seal = seal.strip_prefix(SEAL_KEY).and_then(|rest| rest.strip_suffix(SEAL_END));
    let seal: ContentHash = seal.and_then(|seal| seal.parse().ok()).ok_or("it does not end with a SHA-256")?;
    if seal == ContentHash::of(above.as_bytes()) { Ok(text) } else { Err("its bytes do not have its SHA-256") }
}

/// Cuts a local file into lines, and what a torn write left behind them.
///
/// # Errors
/// What is left behind them is more than a part of a record: its line feed was changed.
pub(super) fn lines(bytes: &[u8]) -> Result<(Vec<Vec<u8>>, &[u8]), RecordError> {
    let mut lines: Vec<Vec<u8>> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let Some(torn) = lines.pop_if(|line| !line.ends_with(b"\n")) else { return Ok((lines, &[])) };
    if let Some((_, whole)) = torn.split_last()
        && unseal(&[whole, b"\n"].concat()).is_ok()
    {
        let what = "its line feed is another byte";
        return Err(RecordError::Damaged { number: lines.len() as u64, what });
    }
    Ok((lines, bytes.get(bytes.len() - torn.len()..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::{ContentHash, Event, Record, RecordError, Timestamp, TransactionId, lines};
    use crate::journal::{Held, Prior};

    fn id() -> TransactionId {
        "20261125T031500Z-0a1b2c3d".parse().unwrap()
    }

    fn record() -> Record {
        let item = Held::Deployment { namespace: "cozy-system".to_owned(), name: "cozystack".to_owned() };
        Record {
            transaction: id(),
            number: 7,
            previous: Some(ContentHash::of(b"before")),
            time: Timestamp::from_millisecond(1_795_576_507_250).unwrap(),
            event: Event::Stopping { item, was: Prior::Replicas(Some(1)) },
        }
    }

    /// A line as another program would write it, whole and sealed.
    fn sealed(change: impl Fn(&str) -> String) -> Vec<u8> {
        let line = String::from_utf8(record().to_line().unwrap()).unwrap();
        let text = change(&line[..line.find("\"sha256\"").unwrap()]);
        format!("{text}\"sha256\":\"{}\"}}\n", ContentHash::of(text.as_bytes())).into_bytes()
    }

    #[test]
    fn a_record_is_one_line_with_its_keys_in_order() {
        let line = record().to_line().unwrap();
        insta::assert_snapshot!(String::from_utf8(line.clone()).unwrap(), @r#"{"format":1,"transaction":"20261125T031500Z-0a1b2c3d","number":7,"previous":"6db7d803e74f1ffa7d8f5adc0bf95b3e15bf4c8373fffadf546227cc6c6742cb","time":"2026-11-25T03:15:07.25Z","event":{"stopping":{"item":{"deployment":{"namespace":"cozy-system","name":"cozystack"}},"was":{"replicas":1}}},"sha256":"e920fac229fb946703b01d302f9e94264e56294e66187446be0e55bef6551d21"}"#);
        assert_eq!(Record::parse(&id(), 7, &line).unwrap(), record());
        assert_eq!(sealed(str::to_owned), line);
    }

    #[test]
    fn whole_lines_of_a_later_program_are_told_from_damage() {
        let replaced = |from: &'static str, to: &'static str| sealed(move |text| text.replace(from, to));
        let told = [
            replaced("\"format\":1", "\"format\":2"),
            replaced("\"stopping\"", "\"hop-armed\""),
            replaced("\"replicas\":1", "\"replicas\":1.0"),
            replaced("\"deployment\"", "\"daemon-set\""),
            replaced("\"was\":", "\"why\":{},\"was\":"),
            replaced("\"format\":1,", "\"format\":1,\"epoch\":3,"),
            replaced("\"number\":7", "\"number\": 7"),
            replaced(".25Z", ".250Z"),
        ]
        .map(|line| {
            let error = Record::parse(&id(), 7, &line).unwrap_err();
            assert!(error.is_newer(), "{error}");
            error.to_string()
        });
        insta::assert_snapshot!(told.join("\n").replace("is whole, and this program does not know what it says", "…"), @r"
        record 7 has format 2, and this program reads format 1
        record 7 …: the event `hop-armed`
        record 7 …: invalid type: floating point `1.0`, expected i64 at line 1 column 103
        record 7 …: unknown variant `daemon-set`, expected one of `deployment`, `stateful-set`, `cluster-api`, `mutating-webhook`, `validating-webhook`, `api-service` at line 1 column 33
        record 7 …: unknown field `why`, expected `item` or `was` at line 1 column 87
        record 7 …: it is not in the form that this program writes
        record 7 …: it is not in the form that this program writes
        record 7 …: it is not in the form that this program writes
        ");
        let elsewhere = "20261125T031500Z-00000000".parse().unwrap();
        for (transaction, number) in [(id(), 8), (elsewhere, 7)] {
            let error = Record::parse(&transaction, number, &record().to_line().unwrap()).unwrap_err();
            assert!(matches!(error, RecordError::Misplaced { .. }), "{error}");
        }
    }

    #[test]
    fn a_torn_end_is_a_part_of_a_record_and_nothing_else() {
        let line = record().to_line().unwrap();
        let two = [line.as_slice(), &line].concat();
        assert_eq!(lines(&two).unwrap(), (vec![line.clone(), line.clone()], &[][..]));
        assert_eq!(lines(b"").unwrap(), (Vec::new(), &[][..]));
        for cut in 1..line.len() {
            let torn = &two[..line.len() + cut];
            assert_eq!(lines(torn).unwrap(), (vec![line.clone()], &line[..cut]));
        }
        let mut changed = two.clone();
        *changed.last_mut().unwrap() = b'\r';
        assert!(matches!(lines(&changed), Err(RecordError::Damaged { number: 1, .. })));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), text: String) {
            let _ = Record::parse(&id(), 7, &noise);
            let _ = Record::parse(&id(), 7, &sealed(|_| text.clone()));
            let _ = lines(&noise);
        }
    }
}
