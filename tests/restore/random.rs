//! Random accidents on the small CozyStack, each put back (I6): a property test on real servers.
//!
//! The wanted snapshot is taken once; every accident starts from what the restore before it left, so UIDs change again
//! and again under references that name the first ones. `SNAPBACK_SOAK=1` runs 300 accidents, else a few;
//! `SNAPBACK_SEED` starts from another seed.

use snapback::restore::Wait;

use super::accidents::{Chance, Stock, furnish, mutate};
use super::site::{Site, actions};
use crate::harness::control_plane::Options;
use crate::harness::sample::seeds;

/// Accidents in CI and in a soak.
const SAMPLE: (u64, u64) = (4, 300);

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_is_put_back() {
    let site = Site::start(Options::default().template("cozystack-500").controllers()).await;
    furnish(&site).await;
    let wanted = site.snapshot().await;
    let stock = Stock::read(&wanted).await;
    for seed in seeds(SAMPLE) {
        let mut chance = Chance::new(seed);
        let count = 1 + chance.below(12);
        let mut story = Vec::new();
        for _ in 0..count {
            story.push(mutate(&site, &stock, &mut chance).await);
        }
        if chance.below(4) == 0 {
            // Planning is asked in the middle of it all; it changes nothing.
            let before = settled_writes(&site).await;
            drop(site.plan(&wanted).await);
            let written = site.our_writes().await.split_off(before);
            assert!(written.is_empty(), "seed {seed}: planning wrote {written:?}");
        }
        let restored = site.try_restore(&wanted, Wait::Skip).await;
        let failures: Vec<_> = restored.applied.failures().collect();
        assert!(
            failures.is_empty() && restored.proof.holds(),
            "seed {seed}: {story:#?}\nplan {:#?}\nfailures {failures:#?}\nunexplained {:#?}",
            actions(&restored.plan),
            restored.proof.unexplained
        );
        let (_, second) = site.plan(&wanted).await;
        assert!(second.is_empty(), "seed {seed}: {story:#?}\na second plan finds {:#?}", second.actions);
        eprintln!("seed {seed}: {} mutations, {} actions", story.len(), restored.plan.actions.len());
    }
}

/// How many writes the audit log has, once no event of what was written before comes in any more.
async fn settled_writes(site: &Site) -> usize {
    let mut count = site.our_writes().await.len();
    loop {
        let now = site.our_writes().await.len();
        if now == count {
            return count;
        }
        count = now;
    }
}
