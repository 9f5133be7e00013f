//! A Helm release: where a HelmRelease's lie, one as it lies in its Secret, and what `status.history` tells of it.
//!
//! In: objects. Out: what is compared of a release. `data.release` is base64 (the API's) of base64 (Helm's) of gzip of
//! JSON. Invariants: nothing grows beyond a bound; of what cannot be read nothing is told, not even by an error (I10).

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::bufread::GzDecoder;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::view::{HelmView, SECRETS, path_of};
use crate::restore::object;

/// A Secret holds at most 1 MiB, and charts compress about tenfold: this is far beyond any real release.
const LARGEST: u64 = 64 << 20;
/// Helm takes no longer names of releases.
const LONGEST_NAME: usize = 53;
/// Digits of the name's hash that take the place of what is cut.
const HASH_DIGITS: usize = 12;

/// Where a HelmRelease's releases go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Where Helm keeps its Secrets.
    pub(super) storage: String,
    /// The release's name, cut to what Helm takes.
    pub(super) name: String,
}

impl Target {
    pub(super) fn of(release: &Value) -> Self {
        let own = object::namespace(release).unwrap_or_default();
        let spec = |field: &str| object::text(release, &format!("/spec/{field}")).filter(|text| !text.is_empty());
        let name = match (spec("releaseName"), spec("targetNamespace")) {
            (Some(name), _) => name.to_owned(),
            (None, Some(namespace)) => format!("{namespace}-{}", object::name(release)),
            (None, None) => object::name(release).to_owned(),
        };
        Self { storage: spec("storageNamespace").unwrap_or(own).to_owned(), name: shortened(name) }
    }

    /// The newest Secret of it, unread; `None` when there is none.
    pub(super) fn newest<'a>(&self, view: &'a HelmView) -> Option<&'a Value> {
        let first = path_of(SECRETS, &self.storage, &format!("sh.helm.release.v1.{}.v", self.name));
        let begin = first.trim_end_matches(".json");
        let numbered = view.beginning_with(begin.to_owned()).filter_map(|(path, secret)| {
            let number = path.strip_prefix(begin)?.strip_suffix(".json")?;
            Some((number.parse::<u64>().ok()?, secret))
        });
        numbered.max_by_key(|(number, _)| *number).map(|(_, secret)| secret)
    }
}

fn shortened(name: String) -> String {
    match name.get(..LONGEST_NAME - HASH_DIGITS - 1) {
        Some(begin) if name.len() > LONGEST_NAME => {
            let hash: String = Sha256::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{begin}-{}", hash.get(..HASH_DIGITS).unwrap_or_default())
        }
        _ => name,
    }
}

/// A stored release, as far as it is compared. It is never printed: values hold secrets (I10).
#[derive(Deserialize)]
pub(super) struct StoredRelease {
    pub(super) name: String,
    #[serde(default)]
    pub(super) namespace: String,
    pub(super) version: i64,
    pub(super) info: Info,
    pub(super) chart: Chart,
    /// The values that it was installed with.
    pub(super) config: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
pub(super) struct Info {
    pub(super) status: String,
    #[serde(default)]
    first_deployed: String,
    #[serde(default)]
    last_deployed: String,
}

#[derive(Deserialize)]
pub(super) struct Chart {
    pub(super) metadata: ChartMetadata,
}

#[derive(Deserialize)]
pub(super) struct ChartMetadata {
    pub(super) name: String,
    pub(super) version: String,
}

/// Reads the release in a Secret; `None` where Helm could not read it either, or where it is beyond the bound.
pub(super) fn decode(secret: &Value) -> Option<StoredRelease> {
    decode_within(secret, LARGEST)
}

fn decode_within(secret: &Value, limit: u64) -> Option<StoredRelease> {
    let data = object::text(secret, "/data/release")?;
    let packed = STANDARD.decode(STANDARD.decode(data).ok()?).ok()?;
    // Releases from before Helm packed them are bare JSON.
    if !packed.starts_with(&[0x1f, 0x8b]) {
        return serde_json::from_slice(&packed).ok();
    }
    let mut text = Vec::new();
    let mut unpacking = GzDecoder::new(packed.as_slice());
    unpacking.by_ref().take(limit).read_to_end(&mut text).ok()?;
    // Something is behind it, or it was cut at the bound and is no JSON either.
    if !unpacking.into_inner().is_empty() {
        return None;
    }
    serde_json::from_slice(&text).ok()
}

/// The newest entry of `status.history`.
pub(super) struct Recorded<'a>(&'a Value);

impl<'a> Recorded<'a> {
    pub(super) fn latest(release: &'a Value) -> Option<Self> {
        let entries = release.pointer("/status/history").and_then(Value::as_array)?;
        entries.iter().map(Recorded).max_by_key(Recorded::version)
    }

    pub(super) fn version(&self) -> i64 {
        self.0.get("version").and_then(Value::as_i64).unwrap_or_default()
    }

    /// Digest of the OCI artifact that the release was made from.
    pub(super) fn oci_digest(&self) -> &'a str {
        self.text("ociDigest")
    }

    /// It tells of this release, in this state.
    pub(super) fn tells_of(&self, stored: &StoredRelease) -> bool {
        let same_time = |field: &str, stored: &str| seconds(self.text(field)) == seconds(stored);
        self.version() == stored.version
            && self.text("name") == stored.name
            && self.text("namespace") == stored.namespace
            && self.text("status") == stored.info.status
            && self.text("chartName") == stored.chart.metadata.name
            && self.text("chartVersion") == stored.chart.metadata.version
            && same_time("firstDeployed", &stored.info.first_deployed)
            && same_time("lastDeployed", &stored.info.last_deployed)
    }

    fn text(&self, field: &str) -> &'a str {
        self.0.get(field).and_then(Value::as_str).unwrap_or_default()
    }
}

/// The history keeps whole seconds in UTC, Helm the writer's own time to the nanosecond.
fn seconds(time: &str) -> Option<i64> {
    time.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write as _;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use serde_json::{Value, json};

    use super::{decode, decode_within, shortened};

    /// The Secret of a release, as Helm stores it.
    pub(in crate::restore::helm) fn secret(release: &Value) -> Value {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(release.to_string().as_bytes()).unwrap();
        let name = format!("sh.helm.release.v1.{}.v{}", release["name"].as_str().unwrap(), release["version"]);
        let metadata = json!({"name": name, "namespace": release["namespace"]});
        of_bytes(&packed.finish().unwrap(), &metadata)
    }

    fn of_bytes(packed: &[u8], metadata: &Value) -> Value {
        let data = STANDARD.encode(STANDARD.encode(packed));
        json!({"apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1", "data": {"release": data},
            "metadata": metadata})
    }

    #[test]
    fn a_release_is_read_packed_or_not_within_the_bound() {
        let release = json!({"name": "demo", "namespace": "a", "version": 2, "info": {"status": "pending-upgrade"},
            "chart": {"metadata": {"name": "c", "version": "1"}, "files": [{"data": "e30="}]}, "manifest": "x"});
        for stored in [secret(&release), of_bytes(release.to_string().as_bytes(), &Value::Null)] {
            let read = decode(&stored).unwrap();
            assert_eq!((read.name.as_str(), read.version, read.info.status.as_str()), ("demo", 2, "pending-upgrade"));
        }
        let mut bomb = release;
        bomb["manifest"] = json!("0".repeat(1 << 20));
        assert!(decode(&secret(&bomb)).is_some());
        assert!(decode_within(&secret(&bomb), 1 << 16).is_none());
    }

    #[test]
    fn what_is_no_release_is_none() {
        assert!(decode(&json!({"data": {}})).is_none());
        assert!(decode(&json!({"data": {"release": "*"}})).is_none());
        assert!(decode(&of_bytes(b"{\"name\": hunter2}", &Value::Null)).is_none());
        assert!(decode(&of_bytes(&[0x1f, 0x8b, 8, 0], &Value::Null)).is_none(), "cut");
        let mut more = secret(&json!({"name": "a", "version": 1, "info": {"status": ""},
            "chart": {"metadata": {"name": "c", "version": "1"}}}));
        assert!(decode(&more).is_some());
        let data = more["data"]["release"].take();
        let packed = STANDARD.decode(STANDARD.decode(data.as_str().unwrap()).unwrap()).unwrap();
        assert!(decode(&of_bytes(&[&packed[..], b"more"].concat(), &Value::Null)).is_none());
    }

    #[test]
    fn a_long_name_is_cut_as_helm_controller_cuts_it() {
        // `printf %s "$name" | sha256sum`
        let name = "a-release-with-a-name-that-is-longer-than-helm-would-take-it";
        assert_eq!(shortened(name.to_owned()), "a-release-with-a-name-that-is-longer-tha-9d862129ef8a");
        assert_eq!(shortened("short".to_owned()), "short");
    }
}
