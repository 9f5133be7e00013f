//! Which charts the repositories hold, in which versions, and what is in them.

use serde_json::json;

use super::chart::Chart;
use crate::seed::platform;

/// The versions of a platform chart, oldest first: the release that the cluster runs, and the one before it, to which
/// a HelmRelease can be pinned.
const PLATFORM_VERSIONS: &[&str] = &["0.34.8", platform::PLATFORM_VERSION];

/// The versions of the tenant chart (applications have versions of their own up to CozyStack 0.36).
const TENANT_VERSIONS: &[&str] = &["1.11.2", "1.12.1"];

/// Every chart name there is, with its versions, oldest first.
pub fn charts() -> Vec<(String, &'static [&'static str])> {
    let mut charts: Vec<(String, &'static [&'static str])> =
        platform::components().map(|name| (format!("cozy-{name}"), PLATFORM_VERSIONS)).collect();
    charts.push(("tenant".to_owned(), TENANT_VERSIONS));
    charts
}

/// The newest version of a chart that a HelmRelease's version constraint allows: a version as it is written, or any.
pub fn resolve(chart: &str, constraint: &str) -> Option<&'static str> {
    let (_, versions) = charts().into_iter().find(|(name, _)| name == chart)?;
    match constraint {
        "" | "*" | ">= 0.0.0-0" | ">=0.0.0-0" => versions.last().copied(),
        exact => versions.iter().find(|version| **version == exact).copied(),
    }
}

/// The index of a repository, as Helm reads it.
pub fn index() -> String {
    let mut index = "apiVersion: v1\nentries:\n".to_owned();
    for (name, versions) in charts() {
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
/// tenant has no workload of its own.
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
    if name != "tenant" {
        files.push(("templates/deployment.yaml".to_owned(), DEPLOYMENT.to_owned()));
        files.push(("templates/service.yaml".to_owned(), SERVICE.to_owned()));
    }
    let metrics = json!({ "dashboards": [name, version], "interval": "30s" });
    files.push(("README.md".to_owned(), format!("# {name}\n\n    {metrics}\n")));
    Chart { name: name.to_owned(), version: version.to_owned(), files }
}

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
    use super::{chart, resolve};

    #[test]
    fn the_newest_version_is_taken_unless_one_is_named() {
        assert_eq!(resolve("cozy-cilium", ">= 0.0.0-0"), Some("0.35.5"));
        assert_eq!(resolve("cozy-cilium", "0.34.8"), Some("0.34.8"));
        assert_eq!(resolve("cozy-cilium", "9.9.9"), None);
        assert_eq!(resolve("cozy-unknown", "*"), None);
    }

    #[test]
    fn a_chart_is_the_same_to_the_byte_every_time() {
        let pack = || chart("cozy-cilium", "0.35.5").pack().expect("an archive");
        assert_eq!(pack(), pack());
    }
}
