//! Which charts the repositories of a release hold, in which versions, and what is in them.

use serde_json::{Value, json};

use super::chart::Chart;
use super::release::Release;
use super::{bundle, definitions};

/// The repositories that the installer serves, by the last part of their URL.
pub const REPOSITORIES: [&str; 3] = ["system", "apps", "extra"];

/// Every chart in a repository, with its versions, oldest first.
pub fn charts(release: Release, repository: &str) -> Vec<(String, Vec<&'static str>)> {
    match repository {
        "system" => {
            let names = bundle::components(release).into_iter().map(|component| format!("cozy-{}", component.name));
            names.map(|name| (name, vec![release.version()])).collect()
        }
        "apps" => vec![("tenant".to_owned(), release.tenant_charts().to_vec())],
        // Every tenant has one from 0.37 on.
        "extra" if release >= Release::V0_37_2 => vec![("info".to_owned(), vec![release.version()])],
        _ => Vec::new(),
    }
}

/// The newest version of a chart that a HelmRelease's version constraint allows: a version as it is written, or any.
pub fn resolve(release: Release, repository: &str, chart: &str, constraint: &str) -> Option<&'static str> {
    let (_, versions) = charts(release, repository).into_iter().find(|(name, _)| name == chart)?;
    match constraint {
        "" | "*" | bundle::ANY_VERSION | ">=0.0.0-0" => versions.last().copied(),
        exact => versions.into_iter().find(|version| *version == exact),
    }
}

/// The index of a repository, as Helm reads it.
pub fn index(release: Release, repository: &str) -> String {
    let mut index = "apiVersion: v1\nentries:\n".to_owned();
    for (name, versions) in charts(release, repository) {
        index.push_str(&format!("  {name}:\n"));
        for version in versions.iter().rev() {
            index.push_str(&format!(
                "  - apiVersion: v2\n    name: {name}\n    version: {version}\n    urls: [{name}-{version}.tgz]\n"
            ));
        }
    }
    index
}

/// The files of a chart. A platform component is a Deployment with a Service, a ServiceAccount and its configuration; a
/// tenant has no workload of its own. Some hold CozyStack's own types too.
pub fn chart(name: &str, version: &str) -> Chart {
    let mut files = vec![
        (
            "Chart.yaml".to_owned(),
            format!(
                "apiVersion: v2\nname: {name}\ndescription: {name} of the platform\ntype: application\nversion: {version}\n"
            ),
        ),
        (
            "values.yaml".to_owned(),
            "component: \"\"\nlogLevel: info\nreplicas: 1\nresources:\n  requests:\n    cpu: 10m\n    memory: 64Mi\n"
                .to_owned(),
        ),
        ("templates/_names.tpl".to_owned(), LABELS.to_owned()),
        ("templates/configuration.yaml".to_owned(), CONFIGURATION.to_owned()),
        ("templates/account.yaml".to_owned(), ACCOUNT.to_owned()),
    ];
    if name.starts_with("cozy-") {
        files.push(("templates/deployment.yaml".to_owned(), DEPLOYMENT.to_owned()));
        files.push(("templates/service.yaml".to_owned(), SERVICE.to_owned()));
    }
    let more = own_types(name, version);
    if !more.is_empty() {
        // JSON is YAML, and nothing in it looks like a template.
        let documents: Vec<String> = more.iter().map(Value::to_string).collect();
        files.push(("templates/types.yaml".to_owned(), documents.join("\n---\n")));
    }
    if name == "tenant" && Release::of_version(version) >= Some(Release::V0_37_2) {
        files.push(("templates/info.yaml".to_owned(), INFO.to_owned()));
    }
    let metrics = json!({ "dashboards": [name, version], "interval": "30s" });
    files.push(("README.md".to_owned(), format!("# {name}\n\n    {metrics}\n")));
    Chart { name: name.to_owned(), version: version.to_owned(), files }
}

/// What a chart holds of CozyStack's own types.
fn own_types(name: &str, version: &str) -> Vec<Value> {
    let Some(release) = Release::of_version(version) else { return Vec::new() };
    match name {
        "cozy-cozystack-controller" => definitions::of_controller(release),
        "cozy-cozystack-api" if release < Release::V0_37_2 => definitions::resource_definition_objects(release),
        "cozy-cozystack-resource-definition-crd" => vec![definitions::of_resource_definition_chart()],
        "cozy-cozystack-resource-definitions" => definitions::resource_definition_objects(release),
        _ => Vec::new(),
    }
}

/// In the namespace that belongs to the tenant, not in the one its release lies in.
const INFO: &str = "apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata:
  name: info
  namespace: {{ .Release.Name }}
  labels:
    cozystack.io/ui: \"true\"
    {{- include \"labels\" . | nindent 4 }}
spec:
  interval: 5m
  releaseName: info
  chart:
    spec:
      chart: info
      reconcileStrategy: Revision
      version: \">= 0.0.0-0\"
      sourceRef:
        kind: HelmRepository
        name: cozystack-extra
        namespace: cozy-public
";

const LABELS: &str = "{{- define \"labels\" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.Version | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
";

const CONFIGURATION: &str = "apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-configuration
  labels:
    {{- include \"labels\" . | nindent 4 }}
data:
  version: {{ .Chart.Version | quote }}
  values.yaml: |
    {{- .Values | toYaml | nindent 4 }}
";

const ACCOUNT: &str = "apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .Release.Name }}
  labels:
    {{- include \"labels\" . | nindent 4 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ .Release.Name }}
  labels:
    {{- include \"labels\" . | nindent 4 }}
rules:
- apiGroups: [\"\"]
  resources: [configmaps, secrets]
  verbs: [get, list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .Release.Name }}
  labels:
    {{- include \"labels\" . | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .Release.Name }}
subjects:
- kind: ServiceAccount
  name: {{ .Release.Name }}
  namespace: {{ .Release.Namespace }}
";

const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
  labels:
    {{- include \"labels\" . | nindent 4 }}
spec:
  replicas: {{ .Values.replicas }}
  selector:
    matchLabels:
      app.kubernetes.io/instance: {{ .Release.Name }}
  template:
    metadata:
      labels:
        app.kubernetes.io/instance: {{ .Release.Name }}
    spec:
      serviceAccountName: {{ .Release.Name }}
      containers:
      - name: main
        image: ghcr.io/cozystack/cozystack/{{ .Release.Name }}:v{{ .Chart.Version }}
        args: [\"--log-level={{ .Values.logLevel }}\"]
        ports:
        - name: metrics
          containerPort: 8080
        resources:
          {{- toYaml .Values.resources | nindent 10 }}
";

const SERVICE: &str = "apiVersion: v1
kind: Service
metadata:
  name: {{ .Release.Name }}
  labels:
    {{- include \"labels\" . | nindent 4 }}
spec:
  selector:
    app.kubernetes.io/instance: {{ .Release.Name }}
  ports:
  - name: metrics
    port: 8080
    targetPort: metrics
";

#[cfg(test)]
mod tests {
    use super::{Release, chart, resolve};

    #[test]
    fn the_newest_version_is_taken_unless_one_is_named() {
        let resolve = |repository, chart, constraint| resolve(Release::V0_36_2, repository, chart, constraint);
        assert_eq!(resolve("system", "cozy-cilium", ">= 0.0.0-0"), Some("0.36.2"));
        assert_eq!(resolve("apps", "tenant", "1.13.0"), Some("1.13.0"));
        assert_eq!(resolve("apps", "tenant", "9.9.9"), None);
        assert_eq!(resolve("system", "tenant", "*"), None);
    }

    #[test]
    fn a_chart_is_the_same_to_the_byte_every_time() {
        let pack = || chart("cozy-cilium", "0.36.2").pack().expect("an archive");
        assert_eq!(pack(), pack());
    }
}
