//! What helm-controller will make of the end of a plan, said before it is applied.
//!
//! ```text
//!   snapshot, live ──HelmView::load──> views ──HelmView::planned──> the end of a plan
//!                                        └────────state_of────────────┘──> a verdict on each HelmRelease
//! ```
//!
//! In: both trees and a plan. Out: a [`Verdict`] on each HelmRelease that will not be left alone (out of sync, not
//! helm-controller's own, locked by a pending release, failed, not installed, or not to be known), each with the word
//! whether the plan is to blame and [refused](Verdict::is_refused) for it. Invariants: nothing is written; what cannot be
//! known is said to be unknown and never guessed; no value of a Secret is printed or kept in a verdict (I10).
//!
//! A release is judged by what helm-controller 1.3 to 1.6 compares (`DetermineReleaseState`): the newest release that
//! Helm stored against `status.history`, then its chart and values against what the HelmRelease asks for. In place of the
//! two digests in the history, which depend on how Go writes JSON and YAML, what they tell apart is compared: a stored
//! release by its number, status, chart and times, and its values by value. Not seen: what the chart's source would serve
//! if it were asked again, drift of the objects (a restore puts those back itself), and tries that are used up.

mod chart;
mod judge;
mod release;
mod values;
mod verdict;
mod view;

#[cfg(test)]
mod judge_test;
#[cfg(test)]
mod sample;

pub use judge::{judge_plan, judge_snapshot};
pub use verdict::{Differs, State, Strange, Unknown, Verdict};
