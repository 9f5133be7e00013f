//! Accidents on the small CozyStack: what there is to break, and one thing after the other that goes wrong.
//!
//! The same numbers give the same accidents, as long as they meet the same cluster.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use http::Method;
use serde_json::{Value, json};
use snapback::snapshot::ObjectPath;
use snapback::store::SnapshotTree;

use super::site::{CRDS, Site};

/// Something with owners, besides what the small CozyStack has.
pub(crate) async fn furnish(site: &Site) {
    site.crd("widgets", "Widget", "Namespaced").await;
    site.crd("realms", "Realm", "Cluster").await;
    let widget = |name: String| json!({"apiVersion": "db.example/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": 1}});
    for space in ["accident-a", "accident-b", "accident-c"] {
        site.namespace(space).await;
        let widgets = format!("/apis/db.example/v1/namespaces/{space}/widgets");
        for number in 0..4 {
            let made = site.post(&widgets, widget(format!("w{number}"))).await;
            site.patch(&format!("{widgets}/w{number}/status"), json!({"status": {"phase": "Ready"}})).await;
            let owner = json!([{"apiVersion": "db.example/v1", "kind": "Widget", "name": format!("w{number}"),
                "uid": made["metadata"]["uid"]}]);
            for (resource, name) in [("configmaps", "owned"), ("secrets", "owned"), ("configmaps", "free")] {
                let owners = if name == "owned" { owner.clone() } else { json!([]) };
                site.post(
                    &format!("/api/v1/namespaces/{space}/{resource}"),
                    json!({"metadata": {"name": format!("{name}-{number}"), "ownerReferences": owners},
                        "data": {"key": "dmFsdWU="}}),
                )
                .await;
            }
            // A widget that another one owns, and what it owns in turn.
            let mut child = widget(format!("w{number}-child"));
            child["metadata"]["ownerReferences"] = owner;
            let child = site.post(&widgets, child).await;
            let owner = json!([{"apiVersion": "db.example/v1", "kind": "Widget", "name": format!("w{number}-child"),
                "uid": child["metadata"]["uid"]}]);
            site.post(
                &format!("/api/v1/namespaces/{space}/configmaps"),
                json!({"metadata": {"name": format!("grandchild-{number}"), "ownerReferences": owner}}),
            )
            .await;
        }
        let service = json!({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}});
        site.post(&format!("/api/v1/namespaces/{space}/services"), service).await;
    }
    for number in 0..2 {
        let realm = json!({"apiVersion": "db.example/v1", "kind": "Realm", "metadata": {"name": format!("r{number}")}});
        site.post("/apis/db.example/v1/realms", realm).await;
    }
}

/// A request to Velero or cert-manager, which would run again if it came back.
pub(crate) fn is_request(path: &ObjectPath) -> bool {
    match path.group.as_str() {
        "velero.io" => !matches!(
            path.resource.as_str(),
            "schedules" | "backuprepositories" | "backupstoragelocations" | "volumesnapshotlocations"
        ),
        "acme.cert-manager.io" => true,
        "cert-manager.io" => path.resource == "certificaterequests",
        _ => false,
    }
}

/// Whoever owns it is a request, every one: it does not come back without them.
pub(crate) fn is_of_requests(object: &Value) -> bool {
    let owners = object["metadata"]["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default();
    let owner = |owner: &Value| {
        let kind = owner["kind"].as_str().unwrap().to_lowercase();
        let resource = kind.strip_suffix('y').map_or_else(|| format!("{kind}s"), |stem| format!("{stem}ies"));
        let group = owner["apiVersion"].as_str().unwrap().rsplit_once('/').map_or("", |(group, _)| group).to_owned();
        ObjectPath { group, resource, namespace: None, name: String::new() }
    };
    !owners.is_empty() && owners.iter().map(owner).all(|owner| is_request(&owner))
}

/// What there is to break: URLs of objects that no rule of the never-list protects, by namespace.
pub(crate) struct Stock {
    objects: Vec<String>,
    by_namespace: BTreeMap<String, Vec<String>>,
    /// URLs of CRDs, with those of their objects.
    crds: Vec<(String, Vec<String>)>,
}

impl Stock {
    pub(crate) async fn read(tree: &SnapshotTree) -> Self {
        let mut stock = Self { objects: Vec::new(), by_namespace: BTreeMap::new(), crds: Vec::new() };
        let mut by_type: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (path, entry) in tree.walk("cluster").try_collect::<Vec<_>>().await.unwrap() {
            let Some(path) = ObjectPath::parse(&path) else { continue };
            let object: Value = serde_json::from_slice(&tree.blob(&entry.hash).await.unwrap()).unwrap();
            let url = url(&path, &object);
            by_type.entry(format!("{}.{}", path.resource, path.group)).or_default().push(url.clone());
            if path.resource == "customresourcedefinitions" {
                stock.crds.push((url, Vec::new()));
                continue;
            }
            let controlled = object["metadata"]["ownerReferences"]
                .as_array()
                .is_some_and(|owners| owners.iter().any(|owner| owner["controller"] == true));
            let protected =
                ["pods", "nodes", "endpoints", "endpointslices", "csinodes", "leases", "ipaddresses", "namespaces"]
                    .contains(&path.resource.as_str())
                    || (controlled && path.group == "apps")
                    || is_request(&path)
                    || path.name == "kube-root-ca.crt";
            match &path.namespace {
                Some(space) if !space.starts_with("kube-") && space != "default" => {
                    stock.by_namespace.entry(space.clone()).or_default().push(url.clone());
                    if !protected && path.name != "default" {
                        stock.objects.push(url);
                    }
                }
                None if path.group == "db.example" => stock.objects.push(url),
                _ => {}
            }
        }
        for (crd, objects) in &mut stock.crds {
            *objects = by_type.get(crd.rsplit('/').next().unwrap()).cloned().unwrap_or_default();
        }
        stock
    }

    /// Takes all finalizers off: whose controllers would do so do not run, so nothing could be deleted.
    pub(crate) async fn without_finalizers(&self, site: &Site) {
        for url in self.by_namespace.values().flatten().chain(&self.objects) {
            let object = site.get(url).await;
            if object.is_some_and(|object| object["metadata"].get("finalizers").is_some()) {
                merge(site, url, json!({"metadata": {"finalizers": null}})).await;
            }
        }
    }
}

fn url(path: &ObjectPath, object: &Value) -> String {
    let version = object["apiVersion"].as_str().unwrap();
    let root = if path.group.is_empty() { format!("/api/{version}") } else { format!("/apis/{version}") };
    let name = path.name.replace(':', "%3A");
    match &path.namespace {
        Some(space) => format!("{root}/namespaces/{space}/{}/{name}", path.resource),
        None => format!("{root}/{}/{name}", path.resource),
    }
}

/// One thing that goes wrong; says what. What the API server refuses did not happen.
pub(crate) async fn mutate(site: &Site, stock: &Stock, chance: &mut Chance) -> String {
    let object = chance.one_of(&stock.objects).clone();
    match chance.below(20) {
        0..=3 => {
            let value = chance.below(1000).to_string();
            let patch =
                json!({"metadata": {"labels": {"accident": value}, "annotations": {"accident.example/why": value}}});
            told("label", &object, merge(site, &object, patch).await)
        }
        4..=6 => {
            let data = chance.one_of_where(&stock.objects, |url| url.contains("/configmaps/")).clone();
            told("edit", &data, merge(site, &data, json!({"data": {"accident": "yes", "key": null}})).await)
        }
        7 | 8 => {
            let widget = chance.one_of_where(&stock.objects, |url| url.contains("/widgets/")).clone();
            let status = merge(site, &format!("{widget}/status"), json!({"status": {"phase": "Broken"}})).await;
            let spec =
                merge(site, &widget, json!({"spec": {"size": chance.below(100), "extra": {"a": [1, 2.5]}}})).await;
            told("edit spec and status", &widget, status || spec)
        }
        9 => {
            let release = chance.one_of_where(&stock.objects, |url| url.contains("/helmreleases/")).clone();
            told("edit", &release, merge(site, &release, json!({"spec": {"interval": "47m"}})).await)
        }
        10..=13 => told("delete", &object, remove(site, &object, chance).await),
        14 | 15 => {
            let space = chance.one_of(&stock.by_namespace.keys().cloned().collect::<Vec<_>>()).clone();
            let (name, owner) = (format!("added-{}", chance.below(50)), site.get(&object).await);
            let mut added = json!({"metadata": {"name": name}, "data": {"a": "Yg=="}});
            if let Some(owner) = owner.filter(|owner| owner["metadata"]["namespace"] == json!(space)) {
                added["metadata"]["ownerReferences"] = json!([reference(&owner)]);
            }
            let list = format!("/api/v1/namespaces/{space}/{}", chance.one_of(&["configmaps", "secrets"]));
            told("add", &format!("{list}/{name}"), tried(site, Method::POST, &list, Some(added)).await)
        }
        16 => {
            let name = format!("added-{}", chance.below(5));
            let made = tried(site, Method::POST, "/api/v1/namespaces", Some(json!({"metadata": {"name": name}}))).await;
            let map = Some(json!({"metadata": {"name": "inside"}}));
            tried(site, Method::POST, &format!("/api/v1/namespaces/{name}/configmaps"), map).await;
            told("add namespace", &name, made)
        }
        17 => {
            let map = chance.one_of_where(&stock.objects, |url| url.contains("/configmaps/")).clone();
            let Some(owner) = site.get(&object).await else { return format!("own {map}: no owner") };
            let same = map.split('/').nth(4) == owner["metadata"]["namespace"].as_str();
            let owners = if same { json!([reference(&owner)]) } else { Value::Null };
            told("own", &map, merge(site, &map, json!({"metadata": {"ownerReferences": owners}})).await)
        }
        18 => {
            let (crd, objects) = chance
                .one_of_where(&stock.crds, |(url, objects)| !objects.is_empty() || url.ends_with("realms.db.example"));
            let picked = if chance.below(3) == 0 { &format!("{CRDS}/widgets.db.example") } else { crd };
            for object in stock.crds.iter().find(|(url, _)| url == picked).map_or(objects, |(_, objects)| objects) {
                merge(site, object, json!({"metadata": {"finalizers": null}})).await;
            }
            told("delete", picked, tried(site, Method::DELETE, picked, None).await)
        }
        _ => {
            let spaces: Vec<String> = stock.by_namespace.keys().cloned().collect();
            let space = if chance.below(2) == 0 { "accident-a".to_owned() } else { chance.one_of(&spaces).clone() };
            for object in &stock.by_namespace[&space] {
                merge(site, object, json!({"metadata": {"finalizers": null}})).await;
            }
            told("delete", &space, tried(site, Method::DELETE, &format!("/api/v1/namespaces/{space}"), None).await)
        }
    }
}

fn told(what: &str, object: &str, happened: bool) -> String {
    if happened { format!("{what} {object}") } else { format!("{what} {object}: refused") }
}

fn reference(owner: &Value) -> Value {
    json!({"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"]})
}

/// Finalizers are taken off first: whose controllers would do so do not run.
async fn remove(site: &Site, url: &str, chance: &mut Chance) -> bool {
    merge(site, url, json!({"metadata": {"finalizers": null}})).await;
    let policy = chance.one_of(&["Background", "Background", "Orphan"]);
    tried(site, Method::DELETE, &format!("{url}?propagationPolicy={policy}"), None).await
}

async fn merge(site: &Site, url: &str, patch: Value) -> bool {
    let body = Some(serde_json::to_vec(&patch).unwrap());
    site.cluster.send_as(Method::PATCH, url, "application/merge-patch+json", body).await.is_ok()
}

async fn tried(site: &Site, method: Method, url: &str, object: Option<Value>) -> bool {
    let body = object.map(|object| serde_json::to_vec(&object).unwrap());
    site.cluster.send(method, url, body).await.is_ok()
}

/// The same numbers for the same seed (SplitMix64, Steele, Lea and Flood 2014).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let index = self.below(u64::try_from(all.len()).unwrap());
        &all[usize::try_from(index).unwrap()]
    }

    fn one_of_where<'a, T>(&mut self, all: &'a [T], fits: impl Fn(&T) -> bool) -> &'a T {
        let fitting: Vec<&T> = all.iter().filter(|one| fits(one)).collect();
        let index = self.below(u64::try_from(fitting.len()).unwrap());
        fitting[usize::try_from(index).unwrap()]
    }
}
