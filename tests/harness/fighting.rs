//! A small CozyStack that fights back, and hops from one release of it to the next.
//!
//! Flux's real helm-controller, the stand-in for source-controller and the stand-in for the installer run the whole time,
//! each while its Deployment has a pod. What they undo is undone within seconds, until they are scaled down.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "an answer that is not as it must be fails the test")]

use std::time::{Duration, Instant};

use rig::installer::{Release, bundle, catalog, manifest};
use serde_json::Value;

use super::control_plane::{ControlPlane, Options};

/// A hop takes some ten seconds; on a machine busy with other tests many more.
const PATIENCE: Duration = Duration::from_secs(240);

/// Namespace and name of the Deployments that a process is bound to, from the top: who is above undoes what is below.
pub const BOUND: [(&str, &str); 3] =
    [("cozy-system", "cozystack"), ("cozy-fluxcd", "source-controller"), ("cozy-fluxcd", "helm-controller")];

impl Options {
    /// A small CozyStack of [`Release::SEEDED`] whose platform fights back.
    pub fn fighting(self) -> Self {
        self.template("cozystack-500").controllers().argument("--fighting")
    }
}

impl ControlPlane {
    /// Every object of a type (or several, comma-separated), from all namespaces.
    pub fn list(&self, types: &str) -> Vec<Value> {
        let text = self.kubectl(&["get", types, "-A", "-o", "json", "--show-managed-fields"]);
        serde_json::from_str::<Value>(&text).unwrap().get("items").and_then(Value::as_array).unwrap().clone()
    }

    /// One object, or null when there is none.
    pub fn object(&self, namespace: &str, resource: &str) -> Value {
        let text = self.kubectl(&["get", resource, "-n", namespace, "-o", "json", "--ignore-not-found"]);
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// A merge patch.
    pub fn patch(&self, namespace: &str, resource: &str, patch: &str) {
        self.kubectl(&["patch", resource, "-n", namespace, "--type=merge", "-p", patch]);
    }

    /// Scales a Deployment and waits until its pods are gone, or there.
    pub fn scale(&self, (namespace, name): (&str, &str), replicas: u32) {
        self.kubectl(&["scale", "deployment", name, "-n", namespace, &format!("--replicas={replicas}")]);
        if replicas == 0 {
            let selected = format!("app={name}");
            let started = Instant::now();
            while !self.kubectl(&["get", "pods", "-n", namespace, "-l", &selected, "-o", "name"]).is_empty() {
                assert!(started.elapsed() < PATIENCE, "the pods of {name} stay");
                std::thread::sleep(Duration::from_millis(50));
            }
        } else {
            let deployment = format!("deployment/{name}");
            self.kubectl(&["wait", &deployment, "-n", namespace, "--for=condition=Available", "--timeout=120s"]);
        }
    }

    /// Upgrades the platform as its documentation says, by applying the manifest of the release's installer.
    pub fn apply_installer(&self, release: Release) {
        let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": manifest(release) });
        // The API server checks it anyway; kubectl would first read all schemas, which takes long on a busy machine.
        self.kubectl_with_input(&["apply", "--validate=false", "-f", "-"], &list.to_string());
    }

    /// Upgrades the platform and waits until all of it is there.
    pub fn upgrade_to(&self, version: &str) {
        let release = Release::of_version(version).expect("a release that the stand-in knows");
        self.apply_installer(release);
        self.wait_until_landed(release);
    }

    /// Waits until nothing of a release is missing and nothing is under way.
    pub fn wait_until_landed(&self, release: Release) {
        let started = Instant::now();
        loop {
            let missing = self.not_landed(release);
            if missing.is_empty() {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{} has not landed: {missing:#?}", release.version());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// What a release still lacks, as a gate looks at it: the installer's marks, then every HelmRelease that must be
    /// there. A list of what is there would not do, since a migration deletes some of them.
    fn not_landed(&self, release: Release) -> Vec<String> {
        let mut missing = Vec::new();
        let stamp = self.object("cozy-system", "configmap/cozystack-version");
        if text(&stamp, "/data/version") != release.counter().to_string() {
            missing.push(format!("the counter is {}", text(&stamp, "/data/version")));
        }
        let installer = self.object("cozy-system", "deployment/cozystack");
        let image = text(&installer, "/spec/template/spec/containers/0/image");
        let observed = installer.pointer("/status/observedGeneration") == installer.pointer("/metadata/generation");
        let updated = ["updatedReplicas", "readyReplicas", "replicas"]
            .iter()
            .all(|field| installer.pointer(&format!("/status/{field}")).and_then(Value::as_u64) == Some(1));
        if image != release.image() || !observed || !updated {
            missing.push(format!("the installer is {image}, {}", installer.pointer("/status").unwrap_or(&Value::Null)));
        }
        let releases = self.list("helmreleases");
        let settings = self.object("cozy-system", "configmap/cozystack");
        let disabled: Vec<&str> = text(&settings, "/data/bundle-disable").split(',').collect();
        let mut expected = bundle::helm_releases(release, &disabled);
        // Every tenant has an `info` from 0.37 on, which its chart makes.
        if release >= Release::V0_37_2 {
            let tenants = releases.iter().filter(|one| text(one, "/spec/chart/spec/chart") == "tenant");
            expected.extend(tenants.map(|tenant| {
                serde_json::json!({ "metadata": { "name": "info", "namespace": text(tenant, "/metadata/name") } })
            }));
        }
        let same = |one: &Value, other: &Value| key(one) == key(other);
        let absent = expected.iter().filter(|wanted| !releases.iter().any(|release| same(release, wanted)));
        missing.extend(absent.map(|wanted| format!("{} is missing", key(wanted))));
        missing.extend(releases.iter().filter_map(|one| unfinished(one, release)));
        missing
    }

    /// The process ids of a bound process of this cluster: its command line names a file in the cluster's folder.
    pub fn processes(&self, name: &str) -> Vec<u32> {
        let kubeconfig = self.folder().join("config").join(format!("{name}.kubeconfig")).display().to_string();
        let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let ours = |pid: &u32| {
            let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let names_it = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).contains(&kubeconfig);
            names_it(read("cmdline")) || names_it(read("environ"))
        };
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(ours).collect()
    }
}

/// Why a HelmRelease is not at its release's chart yet, if it is not.
fn unfinished(one: &Value, release: Release) -> Option<String> {
    let repository = text(one, "/spec/chart/spec/sourceRef/name").trim_start_matches("cozystack-");
    let (chart, constraint) = (text(one, "/spec/chart/spec/chart"), text(one, "/spec/chart/spec/version"));
    let wanted = catalog::resolve(release, repository, chart, constraint).unwrap_or("nothing");
    let conditions = one.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let find = |kind: &str| conditions.iter().find(|condition| text(condition, "/type") == kind);
    let deployed = text(one, "/status/history/0/chartVersion").split('+').next().unwrap_or_default();
    let reason = if one.pointer("/spec/suspend") == Some(&Value::Bool(true)) {
        "suspended".to_owned()
    } else if one.pointer("/metadata/deletionTimestamp").is_some() {
        "being deleted".to_owned()
    } else if find("Ready").is_none_or(|ready| text(ready, "/status") != "True") || find("Reconciling").is_some() {
        format!("{conditions:?}")
    } else if one.pointer("/status/observedGeneration") != one.pointer("/metadata/generation") {
        "not observed".to_owned()
    } else if deployed != wanted || text(one, "/status/history/0/status") != "deployed" {
        format!("{deployed} instead of {wanted}")
    } else {
        return None;
    };
    Some(format!("{}: {reason}", key(one)))
}

fn key(object: &Value) -> String {
    format!("{}/{}", text(object, "/metadata/namespace"), text(object, "/metadata/name"))
}

/// The text at a place in an object, empty where there is none.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
