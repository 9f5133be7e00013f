//! The chart that a HelmRelease's source offers.
//!
//! In: a HelmRelease and the objects of source-controller. Out: the chart's name and version, as far as they can be seen
//! without the archive. What source-controller will make of a source that it looks at again cannot be seen: where
//! helm-controller changes a HelmChart first, nothing is said.

use serde_json::{Value, json};

use super::release::{ChartMetadata, Recorded};
use super::verdict::{Differs, Unknown};
use super::view::{EXTERNAL_ARTIFACTS, HELM_CHARTS, HelmView, OCI_REPOSITORIES};
use crate::restore::object;

/// What the API server makes of a field that is not there.
type Default = fn() -> Value;

/// Fields of a HelmChart that decide what is in it: by their place in `spec`.
const DECIDING: [(&str, Default); 7] = [
    ("chart", || Value::Null),
    ("version", || json!("*")),
    ("sourceRef/kind", || Value::Null),
    ("sourceRef/name", || Value::Null),
    ("reconcileStrategy", || json!("ChartVersion")),
    ("valuesFiles", || json!([])),
    ("ignoreMissingValuesFiles", || json!(false)),
];

/// A chart, as its source shows it.
pub(super) enum Offered<'a> {
    /// A HelmChart's. Its name is not to be seen where it comes from a Git repository or a bucket.
    Chart { name: Option<&'a str>, version: &'a str },
    /// An artifact that is known by its digest, which becomes part of the chart's version.
    Artifact { digest: &'a str },
}

impl Offered<'_> {
    /// How this is another chart than the one that a release was made from.
    pub(super) fn differs(&self, chart: &ChartMetadata, recorded: &Recorded<'_>) -> Option<Differs> {
        let (released, offered) = match self {
            Self::Chart { name, version } => {
                let name = name.unwrap_or(&chart.name);
                (format!("{} {}", chart.name, chart.version), format!("{name} {version}"))
            }
            Self::Artifact { digest } => (digest_of(recorded.oci_digest()).to_owned(), (*digest).to_owned()),
        };
        (released != offered).then_some(Differs::Chart { released, offered })
    }
}

/// The chart that a HelmRelease gets.
pub(super) fn offered<'a>(view: &'a HelmView, release: &Value) -> Result<Offered<'a>, Unknown> {
    let own = object::namespace(release).unwrap_or_default();
    let spec = |pointer: &str| release.pointer(pointer).filter(|value| !value.is_null());
    let in_namespace = |reference: &Value, field: &str| {
        object::text(reference, field).filter(|namespace| !namespace.is_empty()).unwrap_or(own).to_owned()
    };
    match (spec("/spec/chart"), spec("/spec/chartRef")) {
        (Some(_), None) => {
            let asked = spec("/spec/chart/spec").ok_or(Unknown::ChartReference)?;
            let namespace = in_namespace(asked, "/sourceRef/namespace");
            let name = format!("{own}-{}", object::name(release));
            let (chart, version) = with_artifact(view, HELM_CHARTS, "HelmChart", &namespace, &name)?;
            if let Some(field) = differing_field(Some(asked), chart.get("spec")) {
                return Err(Unknown::ChartWillChange { field });
            }
            Ok(of_helm_chart(chart, version))
        }
        (None, Some(reference)) => {
            let kind = object::text(reference, "/kind").unwrap_or_default();
            let of_kind = match kind {
                "HelmChart" => HELM_CHARTS,
                "OCIRepository" => OCI_REPOSITORIES,
                "ExternalArtifact" => EXTERNAL_ARTIFACTS,
                _ => return Err(Unknown::ChartReference),
            };
            let name = object::text(reference, "/name").unwrap_or_default();
            let namespace = in_namespace(reference, "/namespace");
            let (source, revision) = with_artifact(view, of_kind, kind, &namespace, name)?;
            if of_kind == HELM_CHARTS {
                return Ok(of_helm_chart(source, revision));
            }
            Ok(Offered::Artifact { digest: digest_of(revision) })
        }
        _ => Err(Unknown::ChartReference),
    }
}

/// A source with the revision of its artifact. That it may have been made for an earlier generation is no hindrance for
/// long: source-controller looks at it again.
fn with_artifact<'a>(
    view: &'a HelmView,
    of_kind: (&str, &str),
    kind: &str,
    namespace: &str,
    name: &str,
) -> Result<(&'a Value, &'a str), Unknown> {
    let source = view.get(of_kind, namespace, name);
    source
        .and_then(|source| Some((source, object::text(source, "/status/artifact/revision")?)))
        .ok_or_else(|| Unknown::NoChart { source: format!("{kind} {namespace}/{name}") })
}

fn of_helm_chart<'a>(chart: &'a Value, version: &'a str) -> Offered<'a> {
    let from_repository = object::text(chart, "/spec/sourceRef/kind") == Some("HelmRepository");
    let asked = object::text(chart, "/spec/chart").filter(|_| from_repository);
    let name = object::text(chart, "/status/observedChartName").filter(|name| !name.is_empty()).or(asked);
    Offered::Chart { name, version }
}

/// Of `<tag>@<algorithm>:<digest>`, the digest.
fn digest_of(revision: &str) -> &str {
    revision.rsplit_once('@').map_or(revision, |(_, digest)| digest)
}

/// The first field in which two chart specs ask for different charts.
fn differing_field(asked: Option<&Value>, chart: Option<&Value>) -> Option<&'static str> {
    DECIDING.iter().find_map(|(field, default)| {
        let value = |spec: Option<&Value>| {
            let value = spec.and_then(|spec| spec.pointer(&format!("/{field}"))).filter(|value| !value.is_null());
            value.cloned().unwrap_or_else(default)
        };
        (value(asked) != value(chart)).then_some(*field)
    })
}
