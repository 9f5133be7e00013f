//! A HelmRelease that is in sync, with everything that makes it so: what the tests of this room change one thing in.

use serde_json::{Value, json};

use super::release::tests::secret;
use super::view::{CONFIG_MAPS, HELM_CHARTS, HELM_RELEASES, HelmView, SECRETS, path_of};
use crate::restore::object;

/// The objects of one release, by what they are.
#[derive(Clone)]
pub(super) struct Sample {
    pub(super) release: Value,
    pub(super) chart: Value,
    /// Helm's releases, oldest first, before they are packed into Secrets.
    pub(super) stored: Vec<Value>,
    pub(super) values: Value,
    /// Anything else, with its type.
    pub(super) more: Vec<((&'static str, &'static str), Value)>,
}

impl Sample {
    /// Release 2 of chart `cozy-demo` 0.35.5, made by helm-controller.
    pub(super) fn in_sync() -> Self {
        let chart_spec = json!({"chart": "cozy-demo", "version": ">= 0.0.0-0", "reconcileStrategy": "Revision",
            "sourceRef": {"kind": "HelmRepository", "name": "cozystack-system", "namespace": "cozy-system"}});
        let mut sample = Self {
            release: json!({
                "metadata": {"name": "demo", "namespace": "cozy-demo", "generation": 3},
                "spec": {"chart": {"spec": chart_spec}, "values": {"logLevel": "info"},
                    "valuesFrom": [{"kind": "ConfigMap", "name": "defaults"}]},
                "status": {"observedGeneration": 3},
            }),
            chart: json!({
                "metadata": {"name": "cozy-demo-demo", "namespace": "cozy-system"},
                "spec": {"chart": "cozy-demo", "version": ">= 0.0.0-0", "reconcileStrategy": "Revision",
                    "sourceRef": {"kind": "HelmRepository", "name": "cozystack-system"}},
                "status": {"observedChartName": "cozy-demo", "artifact": {"revision": "0.35.5"}},
            }),
            stored: vec![stored(1, "superseded", "0.34.8"), stored(2, "deployed", "0.35.5")],
            values: json!({"metadata": {"name": "defaults", "namespace": "cozy-demo"},
                "data": {"values.yaml": "logLevel: warning\nreplicas: 1\nenabled: yes\n"}}),
            more: Vec::new(),
        };
        sample.observe();
        sample
    }

    /// The same after the platform's upgrade: release 3 of the next chart, with other values.
    pub(super) fn upgraded() -> Self {
        let mut sample = Self::in_sync();
        sample.stored[1]["info"]["status"] = json!("superseded");
        sample.stored.push(stored(3, "deployed", "0.36.2"));
        sample.stored[2]["config"]["replicas"] = json!(2);
        sample.release["spec"]["values"]["replicas"] = json!(2);
        sample.observe();
        sample.chart["status"]["artifact"]["revision"] = json!("0.36.2");
        sample
    }

    /// Writes the history of what is stored, as helm-controller does after it has acted.
    pub(super) fn observe(&mut self) {
        let entries: Vec<Value> = self.stored.iter().rev().map(recorded).collect();
        self.release["status"]["history"] = json!(entries);
    }

    pub(super) fn view(&self) -> HelmView {
        let own = [(HELM_RELEASES, &self.release), (HELM_CHARTS, &self.chart), (CONFIG_MAPS, &self.values)];
        let own = own.into_iter().map(|(kind, object)| (kind, object.clone()));
        let secrets = self.stored.iter().map(|stored| (SECRETS, secret(stored)));
        let all = own.chain(secrets).chain(self.more.iter().cloned()).filter(|(_, object)| !object.is_null());
        let placed = |(kind, object): ((&str, &str), Value)| {
            (path_of(kind, object::namespace(&object).unwrap(), object::name(&object)), object)
        };
        all.map(placed).collect()
    }
}

/// A release as Helm stores it.
pub(super) fn stored(version: i64, status: &str, chart: &str) -> Value {
    json!({
        "name": "demo", "namespace": "cozy-demo", "version": version,
        "info": {"first_deployed": "2026-11-23T12:00:00.123+02:00", "last_deployed": format!("2026-11-23T10:00:0{version}Z"),
            "status": status},
        "chart": {"metadata": {"name": "cozy-demo", "version": chart}},
        "config": {"logLevel": "info", "replicas": 1, "enabled": true},
    })
}

/// The entry of the history for a release.
fn recorded(stored: &Value) -> Value {
    let chart = &stored["chart"]["metadata"];
    json!({"name": stored["name"], "namespace": stored["namespace"], "version": stored["version"],
        "status": stored["info"]["status"], "chartName": chart["name"], "chartVersion": chart["version"],
        "firstDeployed": "2026-11-23T10:00:00Z", "lastDeployed": stored["info"]["last_deployed"]})
}
