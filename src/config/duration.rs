//! Durations as people write them: `90s`, `30m`, `6h`, `1h 30m`, or `0`.

use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, de};

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).ok_or_else(|| de::Error::custom(format!("`{text}` is not a duration such as `90s`, `30m` or `6h`")))
}

fn parse(text: &str) -> Option<Duration> {
    if text.trim() == "0" {
        return Some(Duration::ZERO);
    }
    let signed: SignedDuration = text.parse().ok()?;
    Duration::try_from(signed).ok()
}

#[cfg(test)]
mod tests {
    use super::{Duration, parse};

    #[test]
    fn durations_have_units() {
        assert_eq!(parse("6h"), Some(Duration::from_secs(6 * 3600)));
        assert_eq!(parse("1h 30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse("0"), Some(Duration::ZERO));
        for wrong in ["6", "-1h", "soon", ""] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
