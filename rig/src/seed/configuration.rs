//! ConfigMaps and Secrets, the odd ones included: empty, binary, immutable, with the longest name there may be.

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::planned::{Planned, object, with};
use super::random::Random;
use crate::installer::last_applied::with_last_applied;

/// The longest name an object may have.
const LONGEST_NAME: usize = 253;

fn base64(bytes: Vec<u8>) -> Value {
    serde_json::to_value(ByteString(bytes)).unwrap_or_default()
}

fn namespace(namespaces: &[String], random: &mut Random) -> String {
    random.pick(namespaces).cloned().unwrap_or_else(|| "default".to_owned())
}

/// ConfigMaps of the sizes seen on real clusters: most under 2 kB, some scripts, a few dashboards of 60 kB.
pub fn config_maps(count: usize, namespaces: &[String], random: &mut Random) -> Vec<Planned> {
    let plan = |number: usize| {
        let namespace = namespace(namespaces, random);
        let mut name = format!("{}-{}-{number}", random.word(), random.word());
        let data = match number {
            // One of each oddity, in every cluster.
            0 => json!({}),
            1 => json!({ "binaryData": { "logo.png": base64(random.bytes(700)) } }),
            2 => {
                json!({ "data": { "unicode": "ключ → значение ✓ 鍵\u{1F511}\ttab \"quotes\" \\ backslash\r\nline" }, "immutable": true })
            }
            3 => {
                name.push_str(&".long-name".repeat(LONGEST_NAME));
                name.truncate(LONGEST_NAME - 1);
                // A name must not end with a dot or a hyphen.
                name.push('x');
                json!({ "data": { "key": "" } })
            }
            _ if number % 40 == 4 => json!({ "data": { "dashboard.json": dashboard(random) } }),
            _ => json!({ "data": {
                "config.yaml": settings(random),
                "LOG_LEVEL": random.text(&["info", "debug", "no", "on", "1:30", "0123", "1e5"]),
                "checksum": random.hex(64),
            } }),
        };
        let mut body = with(object("v1", "ConfigMap", Some(&namespace), &name, random), data);
        if number > 4 && number.is_multiple_of(5) {
            body = with_last_applied(body);
        }
        let manager = if number.is_multiple_of(5) { "kubectl-client-side-apply" } else { "helm" };
        Planned { url: format!("/api/v1/namespaces/{namespace}/configmaps"), manager, body }
    };
    (0..count).map(plan).collect()
}

/// A configuration file of some lines.
fn settings(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..random.between(6, 20) {
        text.push_str(&format!(
            "{}_{}:\n  value: {}\n  note: {}\n",
            random.word(),
            random.word(),
            random.below(5000),
            random.words(4)
        ));
    }
    text
}

/// A Grafana dashboard: 60 kB of very regular text.
fn dashboard(random: &mut Random) -> String {
    let panel = |id: u64, random: &mut Random| {
        json!({
            "id": id,
            "type": "timeseries",
            "title": random.words(3),
            "datasource": { "type": "prometheus", "uid": "${ds_prometheus}" },
            "fieldConfig": { "defaults": { "unit": "short", "custom": { "lineWidth": 1, "fillOpacity": 10 } }, "overrides": [] },
            "gridPos": { "h": 8, "w": 12, "x": 0, "y": id * 8 },
            "targets": [{ "expr": format!("sum(rate({}_{}_total{{namespace=\"$namespace\"}}[5m])) by (pod)", random.word(), random.word()), "refId": "A" }],
        })
    };
    let panels: Vec<Value> = (0..random.between(60, 150)).map(|id| panel(id, random)).collect();
    json!({ "title": random.words(2), "schemaVersion": 39, "panels": panels }).to_string()
}

/// Secrets: of ten, five opaque, two of TLS, one of a registry, two with the incompressible payload of a Helm release.
pub fn secrets(count: usize, namespaces: &[String], random: &mut Random) -> Vec<Planned> {
    let plan = |number: usize| {
        let namespace = namespace(namespaces, random);
        let (mut name, mut manager) = (format!("{}-{}-{number}", random.word(), random.word()), "helm");
        let fields = match number % 10 {
            0..=4 => json!({ "type": "Opaque", "data": {
                "username": base64(random.word().as_bytes().to_vec()),
                "password": base64(random.hex(24).into_bytes()),
                "dsn": base64(format!("postgres://{}:{}@10.0.0.9:5432/app?sslmode=disable", random.word(), random.hex(16)).into_bytes()),
            } }),
            5 | 6 => {
                manager = "cert-manager-certificates-issuing";
                json!({ "type": "kubernetes.io/tls", "data": {
                    "ca.crt": pem("CERTIFICATE", 800, random),
                    "tls.crt": pem("CERTIFICATE", 1100, random),
                    "tls.key": pem("RSA PRIVATE KEY", 1190, random),
                } })
            }
            7 => {
                let auth = format!("{{\"auths\":{{\"registry.example.org\":{{\"auth\":\"{}\"}}}}}}", random.hex(40));
                json!({ "type": "kubernetes.io/dockerconfigjson", "data": { ".dockerconfigjson": base64(auth.into_bytes()) } })
            }
            _ => {
                // What an older component, not managed by this cluster's Flux, has left behind: gzip inside base64.
                name = format!("sh.helm.release.v1.{}-{number}.v{}", random.word(), random.between(1, 5));
                let size = usize::try_from(random.between(16_500, 33_000)).unwrap_or_default();
                let payload = base64(random.bytes(size)).as_str().unwrap_or_default().as_bytes().to_vec();
                json!({ "type": "helm.sh/release.v1", "data": { "release": base64(payload) } })
            }
        };
        let body = with(object("v1", "Secret", Some(&namespace), &name, random), fields);
        Planned { url: format!("/api/v1/namespaces/{namespace}/secrets"), manager, body }
    };
    (0..count).map(plan).collect()
}

/// Text in the form of a PEM file around random bytes; nobody reads it as a key.
fn pem(kind: &str, size: usize, random: &mut Random) -> Value {
    let body = base64(random.bytes(size));
    let text = format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", body.as_str().unwrap_or_default());
    base64(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::{config_maps, secrets};
    use crate::seed::random::Random;

    #[test]
    fn the_longest_name_and_the_empty_one_are_among_the_config_maps() {
        let planned = config_maps(6, &["cozy-system".to_owned()], &mut Random::new(1));
        assert!(
            planned
                .iter()
                .any(|planned| planned.body["metadata"]["name"].as_str().is_some_and(|name| name.len() == 253))
        );
        assert!(
            planned
                .iter()
                .any(|planned| planned.body.get("data").is_none() && planned.body.get("binaryData").is_none())
        );
    }

    #[test]
    fn helm_payloads_are_large_and_the_same_for_the_same_seed() {
        let make = || secrets(10, &["tenant-root".to_owned()], &mut Random::new(5));
        assert_eq!(make(), make());
        assert!(make()[9].body.to_string().len() > 29_000);
    }
}
