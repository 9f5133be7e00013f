//! Texts for string fields of a schema: by format, by pattern, by the name of the field.

use regex::Regex;
use serde_json::Value;

use super::random::Random;

/// Texts that are tried against a pattern, from the commonest to the oddest.
const CANDIDATES: &[&str] = &[
    "ready",
    "Ready",
    "10m",
    "10m0s",
    "30s",
    "1h",
    "100m",
    "10Gi",
    "v1",
    "v1.33.2",
    "1.33.2",
    "http",
    "https",
    "8080",
    "10%",
    "10.20.0.0/24",
    "192.168.40.10",
    "192.168.40.10-192.168.40.20",
    "2001:db8::1",
    "2001:db8::/64",
    "02:42:ac:11:00:02",
    "https://registry.example.org/platform",
    "oci://registry.example.org/charts",
    "s3://backups/platform",
    "/metrics",
    "platform.example.org",
    "*.example.org",
    "example.org/setting",
    "True",
    "0 3 * * *",
    "main",
    "UTC",
    "Monday",
    "monday",
    "sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393",
    "latest@sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393",
    "7f2d4c0e-5b1a-4f6e-9c3d-2a1b0c9d8e7f",
    "ssh://git@example.org/platform.git",
    "65000",
    "65000:100",
    "AKIAIOSFODNN7EXAMPLE",
    "arn:aws:iam::123456789012:role/backup",
    "2026-11-01T03:00:00Z",
    "a",
    "A",
    "1",
    "0",
];

/// A text that fits the schema of a string field, or nothing when no known text does.
pub fn text_for(schema: &Value, name: &str, random: &mut Random) -> Option<String> {
    let limit = |key: &str| schema.get(key).and_then(Value::as_u64).and_then(|limit| usize::try_from(limit).ok());
    let (least, most) = (limit("minLength").unwrap_or(0), limit("maxLength").unwrap_or(usize::MAX));
    let pattern = schema.get("pattern").and_then(Value::as_str);
    let fits_length = |text: &str| (least..=most).contains(&text.len());
    let fits = |text: &str, regex: Option<&Regex>| fits_length(text) && regex.is_none_or(|regex| regex.is_match(text));

    // A pattern that this engine cannot read is one that no text can be checked against.
    let regex = match pattern {
        Some(pattern) => Some(Regex::new(pattern).ok()?),
        None => None,
    };
    let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
    if let Some(text) = of_format(format, random) {
        return fits(&text, regex.as_ref()).then_some(text);
    }
    let mut named = of_name(name, random);
    if most < named.len() {
        named.truncate(most);
        named = named.trim_end_matches(['-', ' ']).to_owned();
    }
    while named.len() < least {
        named.push_str("-0");
    }
    if fits(&named, regex.as_ref()) {
        return Some(named);
    }
    let word = random.word().to_owned();
    if fits(&word, regex.as_ref()) {
        return Some(word);
    }
    CANDIDATES.iter().find(|text| fits(text, regex.as_ref())).map(|text| (*text).to_owned())
}

fn of_format(format: &str, random: &mut Random) -> Option<String> {
    Some(match format {
        "date-time" => timestamp(random),
        "date" => "2026-11-01".to_owned(),
        "duration" => format!("{}m0s", random.between(1, 59)),
        "ipv4" | "ip" => address(random),
        "ipv6" => format!("2001:db8::{:x}", random.between(1, 0xffff)),
        "cidr" => format!("10.{}.0.0/16", random.between(0, 255)),
        "uri" | "url" => format!("https://{}.example.org/{}", random.word(), random.word()),
        "hostname" => format!("{}.example.org", random.word()),
        "uuid" => {
            format!("{}-{}-4{}-8{}-{}", random.hex(8), random.hex(4), random.hex(3), random.hex(3), random.hex(12))
        }
        // Base64 of 24 bytes: no padding.
        "byte" => random.hex(32),
        _ => return None,
    })
}

/// A moment in the month before the samples were made up.
pub fn timestamp(random: &mut Random) -> String {
    let (day, hour, minute) = (random.between(1, 30), random.below(24), random.below(60));
    format!("2026-10-{day:02}T{hour:02}:{minute:02}:{:02}Z", random.below(60))
}

fn address(random: &mut Random) -> String {
    format!("10.{}.{}.{}", random.below(256), random.below(256), random.between(1, 254))
}

fn of_name(name: &str, random: &mut Random) -> String {
    let name = name.to_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    if has(&["description", "message", "summary", "comment"]) {
        random.words(9)
    } else if has(&["cidr"]) {
        format!("10.{}.0.0/16", random.below(256))
    } else if has(&["url", "uri"]) {
        format!("https://{}.example.org/{}", random.word(), random.word())
    } else if has(&["endpoint", "server", "host", "domain"]) {
        format!("{}.example.org", random.word())
    } else if has(&["image"]) {
        format!("ghcr.io/cozystack/{}:v0.{}.{}", random.word(), random.below(40), random.below(9))
    } else if has(&["interval", "duration", "timeout", "period", "ttl"]) {
        format!("{}m0s", random.between(1, 59))
    } else if has(&["schedule", "cron"]) {
        format!("{} {} * * *", random.below(60), random.below(24))
    } else if name == "ip" || has(&["address", "podip", "hostip"]) {
        address(random)
    } else if has(&["checksum", "digest"]) {
        format!("sha256:{}", random.hex(64))
    } else if has(&["uid"]) {
        format!("{}-{}-4{}-8{}-{}", random.hex(8), random.hex(4), random.hex(3), random.hex(3), random.hex(12))
    } else if has(&["time"]) {
        timestamp(random)
    } else if name == "namespace" {
        format!("tenant-{}", random.word())
    } else {
        format!("{}-{}-{}", random.word(), random.word(), random.below(1000))
    }
}

#[cfg(test)]
mod tests {
    use super::text_for;
    use crate::seed::random::Random;
    use serde_json::json;

    #[test]
    fn a_text_keeps_to_pattern_and_length_or_is_not_made() {
        let mut random = Random::new(3);
        let duration = text_for(&json!({ "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$" }), "every", &mut random);
        assert_eq!(duration.as_deref(), Some("10m"));
        let short = text_for(&json!({ "maxLength": 5 }), "name", &mut random).expect("a text");
        assert!(short.len() <= 5, "{short}");
        assert_eq!(text_for(&json!({ "pattern": "^Zq{9}$" }), "name", &mut random), None);
    }
}
