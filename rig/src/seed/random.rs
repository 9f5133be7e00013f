//! Numbers that look random and are the same for the same seed on every machine: what makes a seeded cluster repeatable.

/// A splitmix64 generator (Steele, Lea, Flood 2014): eight bytes of state, good enough to spread sample values.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

/// Words that names and descriptions are made of, so that text compresses as text written by people does.
const WORDS: &[&str] = &[
    "replica",
    "cluster",
    "tenant",
    "storage",
    "network",
    "policy",
    "volume",
    "backup",
    "primary",
    "standby",
    "gateway",
    "ingress",
    "metrics",
    "operator",
    "reconcile",
    "retention",
    "snapshot",
    "endpoint",
    "certificate",
    "issuer",
    "rotation",
    "interval",
    "timeout",
    "failover",
    "quorum",
    "namespace",
    "secret",
    "registry",
    "schedule",
    "window",
    "capacity",
    "threshold",
    "region",
    "zone",
    "rack",
    "pool",
    "node",
    "machine",
    "worker",
    "control",
    "plane",
    "upgrade",
    "channel",
    "stable",
    "internal",
    "external",
    "public",
    "private",
    "default",
    "shared",
    "dedicated",
    "encrypted",
    "compressed",
];

impl Random {
    /// The generator of a seed number.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A generator of its own for a named part, so that a change in one part leaves the others as they are.
    pub fn part(&self, name: &str) -> Self {
        // FNV-1a: std's hasher does not promise the same result in every Rust release.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ self.state;
        for byte in name.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Self { state: hash }
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to below `limit`; 0 when `limit` is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.number().checked_rem(limit).unwrap_or(0)
    }

    /// A number from `first` to `last`, both included.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last.saturating_sub(first) + 1)
    }

    /// True in `percent` of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of the items, or nothing when there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(usize::try_from(self.below(items.len() as u64)).unwrap_or(0))
    }

    /// One of the texts.
    pub fn text<'a>(&mut self, items: &[&'a str]) -> &'a str {
        self.pick(items).copied().unwrap_or_default()
    }

    /// A word of the trade.
    pub fn word(&mut self) -> &'static str {
        self.text(WORDS)
    }

    /// Some words with blanks between them.
    pub fn words(&mut self, count: u64) -> String {
        let words: Vec<&str> = (0..count).map(|_| self.word()).collect();
        words.join(" ")
    }

    /// Hexadecimal digits.
    pub fn hex(&mut self, digits: usize) -> String {
        let mut text = String::with_capacity(digits + 16);
        while text.len() < digits {
            text.push_str(&format!("{:016x}", self.number()));
        }
        text.truncate(digits);
        text
    }

    /// Bytes that no compressor makes smaller.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.number().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn the_same_seed_gives_the_same_values_and_another_seed_others() {
        let draw = |seed| {
            let mut random = Random::new(seed).part("secrets");
            (random.hex(24), random.bytes(9), random.words(3))
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert_ne!(Random::new(7).part("a").hex(16), Random::new(7).part("b").hex(16));
    }
}
