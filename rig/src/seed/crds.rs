//! The real CRDs: read from the files that `scripts/toolchain` lists, made loadable without their webhook servers, and
//! copied under other names where more types are wanted than the modules ship.
//!
//! In: `crd-files.txt` of the toolchain folder. Out: [`Crd`] values in a fixed order. What is changed in a CRD: its
//! conversion strategy becomes `None`, since no webhook server runs here (a multi-version CRD then only has its
//! `apiVersion` rewritten), and its status is left out.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::error::SeedError;

/// The name of the list of files inside the toolchain folder.
pub const CRD_LIST: &str = "crd-files.txt";

/// One CustomResourceDefinition and what is needed to make objects of it.
#[derive(Debug, Clone)]
pub struct Crd {
    /// The group of its type.
    pub group: String,
    /// The plural name, as in URLs.
    pub plural: String,
    /// The kind.
    pub kind: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// The version that is stored.
    pub version: String,
    /// Whether that version has the status subresource.
    pub has_status: bool,
    /// The schema of that version.
    pub schema: Value,
    /// The CRD itself, as it is posted.
    pub body: Value,
}

impl Crd {
    /// `PLURAL.GROUP`, the name of the CRD.
    pub fn name(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }

    /// `GROUP/VERSION` of the stored version.
    pub fn api_version(&self) -> String {
        format!("{}/{}", self.group, self.version)
    }

    /// The URL that lists its objects at the stored version.
    pub fn collection(&self, namespace: &str) -> String {
        let (group, version, plural) = (&self.group, &self.version, &self.plural);
        if self.namespaced {
            format!("/apis/{group}/{version}/namespaces/{namespace}/{plural}")
        } else {
            format!("/apis/{group}/{version}/{plural}")
        }
    }

    fn from_body(mut body: Value) -> Option<Self> {
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let (group, plural, kind) = (text("/spec/group")?, text("/spec/names/plural")?, text("/spec/names/kind")?);
        let namespaced = text("/spec/scope")? == "Namespaced";
        let stored = body
            .pointer("/spec/versions")?
            .as_array()?
            .iter()
            .find(|version| version.get("storage") == Some(&Value::Bool(true)))?;
        let version = stored.get("name")?.as_str()?.to_owned();
        let has_status = stored.pointer("/subresources/status").is_some();
        let schema = stored.pointer("/schema/openAPIV3Schema").cloned().unwrap_or_default();
        body.as_object_mut()?.remove("status");
        body.get_mut("spec")?.as_object_mut()?.insert("conversion".to_owned(), json!({ "strategy": "None" }));
        Some(Self { group, plural, kind, namespaced, version, has_status, schema, body })
    }

    /// The same type under another group and other names, so that it stands beside the original.
    pub fn copied(&self, number: usize) -> Self {
        let mut copy = self.clone();
        copy.group = format!("copy{number}.{}", self.group);
        copy.plural = format!("copy{number}{}", self.plural);
        copy.kind = format!("Copy{number}{}", self.kind);
        let name = copy.name();
        if let Some(metadata) = copy.body.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("name".to_owned(), json!(name));
        }
        if let Some(spec) = copy.body.get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("group".to_owned(), json!(copy.group));
            // Short names and categories are optional; two types with one short name would shadow each other.
            spec.insert(
                "names".to_owned(),
                json!({
                    "kind": copy.kind,
                    "listKind": format!("{}List", copy.kind),
                    "plural": copy.plural,
                    "singular": copy.kind.to_lowercase(),
                }),
            );
        }
        copy
    }
}

/// Reads every CRD of the list, in the order of their names. A file that is not plain YAML (a template) is an error:
/// the list is made for files that are.
///
/// # Errors
/// [`SeedError::CrdList`] when the list or a file of it cannot be read, [`SeedError::CrdFile`] when it does not parse.
pub fn load(toolchain: &Path) -> Result<Vec<Crd>, SeedError> {
    let list = toolchain.join(CRD_LIST);
    let text = fs::read_to_string(&list).map_err(|source| SeedError::CrdList { path: list.clone(), source })?;
    let mut crds = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let path = Path::new(line);
        let yaml = fs::read_to_string(path).map_err(|source| SeedError::CrdList { path: path.to_owned(), source })?;
        let documents: Vec<Value> = serde_saphyr::from_multiple(&yaml)
            .map_err(|source| SeedError::CrdFile { path: path.to_owned(), reason: source.to_string() })?;
        let definitions = documents
            .into_iter()
            .filter(|document| document.get("kind").and_then(Value::as_str) == Some("CustomResourceDefinition"));
        for body in definitions {
            crds.push(Crd::from_body(body).ok_or_else(|| SeedError::CrdFile {
                path: path.to_owned(),
                reason: "it has no stored version with a schema".to_owned(),
            })?);
        }
    }
    crds.sort_by_key(Crd::name);
    crds.dedup_by_key(|crd| crd.name());
    Ok(crds)
}

/// Groups of the smallest size: what a test needs, quick to load. Flux is there because the small CozyStack runs on it.
const SMALL_GROUPS: &[&str] = &[
    "acme.cert-manager.io",
    "cert-manager.io",
    "groupsnapshot.storage.k8s.io",
    "helm.toolkit.fluxcd.io",
    "ipam.cluster.x-k8s.io",
    "metallb.io",
    "snapshot.storage.k8s.io",
    "source.toolkit.fluxcd.io",
    "velero.io",
];

/// Single types of other groups: what Cluster API is paused by.
const SMALL_TYPES: &[&str] = &["clusters.cluster.x-k8s.io"];

/// The CRDs of a small cluster.
pub fn small(crds: &[Crd]) -> Vec<Crd> {
    let chosen = |crd: &&Crd| SMALL_GROUPS.contains(&crd.group.as_str()) || SMALL_TYPES.contains(&crd.name().as_str());
    crds.iter().filter(chosen).cloned().collect()
}

/// As many CRDs as wanted: the real ones first, then copies of real ones, no type of Flux among them (its controllers
/// look at their own types only, and a copy must not be mistaken for one by a reader).
pub fn many(crds: &[Crd], wanted: usize) -> Vec<Crd> {
    let mut chosen: Vec<Crd> = crds.iter().take(wanted).cloned().collect();
    let originals: Vec<&Crd> = crds.iter().filter(|crd| !crd.group.ends_with(".fluxcd.io")).collect();
    let mut number = 1;
    while chosen.len() < wanted && !originals.is_empty() {
        let missing = wanted - chosen.len();
        chosen.extend(originals.iter().take(missing).map(|crd| crd.copied(number)));
        number += 1;
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::{Crd, many};
    use serde_json::json;

    fn issuer() -> Crd {
        let body = json!({
            "metadata": { "name": "issuers.cert-manager.io" },
            "spec": {
                "group": "cert-manager.io",
                "scope": "Namespaced",
                "names": { "kind": "Issuer", "plural": "issuers", "singular": "issuer", "shortNames": ["iss"] },
                "conversion": { "strategy": "Webhook", "webhook": {} },
                "versions": [
                    { "name": "v1alpha1", "storage": false, "schema": {} },
                    { "name": "v1", "storage": true, "subresources": { "status": {} },
                      "schema": { "openAPIV3Schema": { "type": "object" } } },
                ],
            },
            "status": { "storedVersions": ["v1"] },
        });
        Crd::from_body(body).expect("a CRD")
    }

    #[test]
    fn a_crd_is_read_at_its_stored_version_and_needs_no_webhook() {
        let crd = issuer();
        assert_eq!((crd.name().as_str(), crd.version.as_str()), ("issuers.cert-manager.io", "v1"));
        assert!(crd.has_status && crd.namespaced);
        assert_eq!(crd.body.pointer("/spec/conversion"), Some(&json!({ "strategy": "None" })));
        assert_eq!(crd.body.get("status"), None);
    }

    #[test]
    fn a_copy_has_names_of_its_own_everywhere() {
        let copies = many(&[issuer()], 2);
        let body = &copies[1].body;
        assert_eq!(body.pointer("/metadata/name"), Some(&json!("copy1issuers.copy1.cert-manager.io")));
        assert_eq!(body.pointer("/spec/names/listKind"), Some(&json!("Copy1IssuerList")));
        assert_eq!(body.pointer("/spec/names/shortNames"), None);
        assert_eq!(copies[1].collection("x"), "/apis/copy1.cert-manager.io/v1/namespaces/x/copy1issuers");
    }
}
