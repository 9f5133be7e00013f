//! What helm-controller will make of a restore's end: as lines of the plan, as JSON, as a refusal.

use serde_json::{Value, json};
use snapback::restore::helm::{State, Verdict};

use super::error::{Failure, Prefix};
use super::exit::Exit;
use super::field_text::printable;
use super::output::{Output, Tone, first_of};
use super::table;

/// Prints the releases that will not be left alone: those that the plan is refused for, then the others.
pub(crate) fn show(output: &Output, verdicts: &[Verdict]) {
    for refused in [true, false] {
        for verdict in verdicts.iter().filter(|verdict| verdict.is_refused() == refused) {
            let (mark, tone) = if refused { ('!', Tone::Red) } else { ('?', Tone::Dim) };
            output.line(&output.paint(tone, &format!("  {mark} {}", line(verdict))));
        }
    }
}

/// Says that a restore of this plan would be refused.
pub(crate) fn warn(output: &Output, verdicts: &[Verdict]) {
    if verdicts.iter().any(Verdict::is_refused) {
        let text = "helm-controller would not leave all releases alone: without --allow-helm-upgrade this is refused";
        output.message(Prefix::Warning, text);
    }
}

/// The refusal, before anything is changed, of a plan that would make helm-controller act by itself.
pub(crate) fn refuse(verdicts: &[Verdict], is_part: bool, command: &str) -> Result<(), Failure> {
    let lines: Vec<String> = verdicts.iter().filter(|verdict| verdict.is_refused()).map(line).collect();
    if lines.is_empty() {
        return Ok(());
    }
    let releases = table::count(lines.len() as u64, "release");
    let text = format!("after this restore helm-controller would not leave {releases} alone; nothing was changed");
    let mut failure = Failure::new(Exit::Refused, text);
    failure.causes = first_of(&lines);
    if is_part {
        failure = failure.hint(
            "a HelmRelease, its HelmChart and its secrets `sh.helm.release.v1.*` are of one moment: restore all of them, \
             or none",
        );
    }
    Err(failure.hint(format!("`{command} --allow-helm-upgrade` restores it so")))
}

/// As JSON.
pub(crate) fn document(verdicts: &[Verdict]) -> Value {
    let name = |state: &Option<State>| state.as_ref().map(State::name);
    verdicts
        .iter()
        .map(|verdict| {
            json!({
                "release": verdict.release,
                "inSnapshot": name(&verdict.in_snapshot),
                "now": name(&verdict.now),
                "after": verdict.after.name(),
                "text": verdict.after.to_string(),
                "then": verdict.after.then(),
                "refused": verdict.is_refused(),
            })
        })
        .collect()
}

/// `helm-controller would upgrade cozy-metallb/metallb, which is unmanaged: ...`
fn line(verdict: &Verdict) -> String {
    let Verdict { release, in_snapshot, now, after } = verdict;
    let does = match after {
        State::Unknown { .. } => "may act on".to_owned(),
        _ if verdict.is_refused() => format!("would {}", after.then()),
        _ => format!("will {}", after.then()),
    };
    let as_well = match after {
        _ if now.as_ref() == Some(after) => ", as it is now",
        _ if in_snapshot.as_ref() == Some(after) => ", as in the snapshot",
        _ => "",
    };
    printable(&format!("helm-controller {does} {release}, which is {after}{as_well}"))
}

#[cfg(test)]
mod tests {
    use snapback::restore::helm::{Differs, Unknown};

    use super::{State, Verdict, line, refuse};

    #[test]
    fn what_the_plan_is_to_blame_for_is_refused_and_the_rest_is_said() {
        let verdict = |in_snapshot: State, now: State, after: State| Verdict {
            release: "a/b".to_owned(),
            in_snapshot: Some(in_snapshot),
            now: Some(now),
            after,
        };
        let locked = || State::Locked { pending: "pending-upgrade".to_owned() };
        let chart = Differs::Chart { released: "c 1".to_owned(), offered: "c 2".to_owned() };
        let doubt = State::Unknown { why: Unknown::NoValues { source: "Secret a/v".to_owned() } };
        for (verdict, text) in [
            (
                verdict(State::InSync, State::InSync, State::OutOfSync { why: chart }),
                "would upgrade a/b, which is out of sync: it was made from chart c 1, its source offers c 2",
            ),
            (
                verdict(State::InSync, State::InSync, doubt),
                "may act on a/b, which is in doubt: Secret a/v with its values is not there",
            ),
            (
                verdict(State::Failed, State::InSync, State::Failed),
                "will retry or roll back a/b, which is failed, as in the snapshot",
            ),
            (
                verdict(State::InSync, locked(), locked()),
                "will unlock and upgrade a/b, which is locked: its newest release is pending-upgrade, as it is now",
            ),
        ] {
            assert_eq!(line(&verdict), format!("helm-controller {text}"));
            assert_eq!(refuse(&[verdict], false, "snapback restore 1").is_err(), !text.starts_with("will"), "{text}");
        }
    }
}
