//! Trying again: which answers of a bucket say that the next attempt may do better, and how long to wait before it.
//!
//! In: a request that can be sent any number of times. Out: its answer, and whether it was sent more than once: then an
//! earlier attempt may have been carried out though nobody heard of it. The SDK's own retries are off, since they hide
//! that.

use std::future::Future;
use std::time::Duration;

use super::answer::Refusal;

/// How often a request is sent at most. With the waits below that is about half a minute of storms.
const ATTEMPTS: u32 = 8;
/// The longest first wait; each later one may be twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// No wait is longer than this.
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// An answer, and how it came about.
pub(super) struct Tried<T> {
    pub(super) answer: Result<T, Refusal>,
    /// An earlier attempt ended without a clear answer.
    pub(super) again: bool,
}

/// Sends a request until there is an answer that will not change.
pub(super) async fn try_until_clear<T, F>(mut send: impl FnMut() -> F) -> Tried<T>
where
    F: Future<Output = Result<T, Refusal>>,
{
    let mut attempt = 1;
    loop {
        let answer = send().await;
        match &answer {
            Err(refusal) if refusal.may_pass() && attempt < ATTEMPTS => {
                tracing::debug!(attempt, %refusal, "the bucket is asked again");
                tokio::time::sleep(wait(attempt, random())).await;
                attempt += 1;
            }
            _ => return Tried { answer, again: attempt > 1 },
        }
    }
}

/// A random part of a growing wait, so that many who were refused at once do not come back at once.
fn wait(attempt: u32, share: f64) -> Duration {
    let most = FIRST_WAIT.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(LONGEST_WAIT);
    most.mul_f64(share)
}

/// From 0 to 1.
fn random() -> f64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    let bits = std::collections::hash_map::RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(bits >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::{FIRST_WAIT, LONGEST_WAIT, wait};

    #[test]
    fn waits_grow_to_a_limit() {
        assert_eq!(wait(1, 1.0), FIRST_WAIT);
        assert_eq!(wait(3, 0.5), FIRST_WAIT * 2);
        assert_eq!(wait(30, 1.0), LONGEST_WAIT);
        assert!(wait(8, 0.0).is_zero());
    }
}
