//! How much a test of many cases runs: a sample in CI, the full numbers with `SNAPBACK_SOAK=1`; and from which seed number
//! on (`SNAPBACK_SEED`, else 1).

use std::ops::Range;

/// The full numbers are asked for.
pub fn soak() -> bool {
    std::env::var_os("SNAPBACK_SOAK").is_some_and(|value| value == "1")
}

/// The first seed.
pub fn first_seed() -> u64 {
    std::env::var("SNAPBACK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

/// So many seeds in CI and in a soak.
pub fn seeds((sample, all): (u64, u64)) -> Range<u64> {
    let first = first_seed();
    first..first + if soak() { all } else { sample }
}
