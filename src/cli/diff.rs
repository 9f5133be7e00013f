//! `snapback diff A [B]`: what changed from A to B, as a change review. Without B: from A to the cluster as it is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use snapback::snapshot::diff_trees;

use super::arguments::DiffArguments;
use super::error::Failure;
use super::exit::Exit;
use super::field_text;
use super::output::{Output, Tone};
use super::review::{self, Reviewed, Verb};
use super::session::Session;
use super::snapshot_name::SnapshotName;
use super::table;

/// Compares and prints.
pub(crate) async fn run(session: &Session<'_>, arguments: &DiffArguments) -> Result<Exit, Failure> {
    let first = SnapshotName::parse(&arguments.first)?;
    let second = arguments.second.as_deref().map_or(Ok(SnapshotName::Live), SnapshotName::parse)?;
    if first == SnapshotName::Live && second == SnapshotName::Live {
        return Err(
            Failure::new(Exit::Usage, "`live` compared with itself shows nothing").hint("run `snapback diff latest`")
        );
    }
    let opened = session.open().await?;
    let (before, after) = session.pair(&opened, &first, &second).await?;
    let comparison = session.comparison(&before, &after).await?;
    let changes = diff_trees(&before.tree, &after.tree, &comparison.selection).await?;
    let mut reviewed = Vec::with_capacity(changes.len());
    for change in changes.iter().filter(|change| comparison.compares(&change.path)) {
        reviewed.push(review::review(change, &before.tree, &after.tree, arguments.reveal).await?);
    }
    comparison.warn(session.output, "not compared, because one side could not be read");
    let differences = reviewed.iter().any(|change| arguments.all_fields || !change.is_folded());
    if session.output.is_json() {
        let changes: Vec<Value> = reviewed
            .iter()
            .filter(|change| arguments.all_fields || !change.is_folded())
            .map(|change| change.document(arguments.all_fields))
            .collect();
        session.output.json(
            "diff",
            json!({
                "before": before.document(),
                "after": after.document(),
                "summary": Summary::of(&reviewed).document(),
                "notCompared": comparison.left_out(),
                "changes": changes,
            }),
        );
    } else {
        print(session.output, &reviewed, arguments.all_fields);
    }
    Ok(if arguments.exit_code && differences { Exit::Failed } else { Exit::Done })
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Summary {
    added: u64,
    changed: u64,
    removed: u64,
    noise_only: u64,
    never_list: u64,
}

impl Summary {
    fn of(changes: &[Reviewed]) -> Self {
        changes.iter().fold(Self::default(), |mut summary, change| {
            *match change.verb {
                _ if change.is_noise() => &mut summary.noise_only,
                _ if change.untouched.is_some() => &mut summary.never_list,
                Verb::Added => &mut summary.added,
                Verb::Changed => &mut summary.changed,
                Verb::Removed => &mut summary.removed,
            } += 1;
            summary
        })
    }

    fn document(self) -> Value {
        json!({
            "added": self.added,
            "changed": self.changed,
            "removed": self.removed,
            "noiseOnly": self.noise_only,
            "neverList": self.never_list,
        })
    }
}

/// Prints the review, by namespace and kind.
fn print(output: &Output, changes: &[Reviewed], all_fields: bool) {
    let mut groups: BTreeMap<(u8, String), Vec<&Reviewed>> = BTreeMap::new();
    for change in changes.iter().filter(|change| all_fields || !change.is_folded()) {
        let group = match (&change.object, change.namespace()) {
            (None, _) => (2, "beside the cluster".to_owned()),
            (Some(_), None) => (0, "cluster-wide".to_owned()),
            (Some(_), Some(namespace)) => (1, format!("namespace {namespace}")),
        };
        groups.entry(group).or_default().push(change);
    }
    for ((_, heading), mut changes) in groups {
        if output.is_closed() {
            return;
        }
        output.line(&output.paint(Tone::Bold, &field_text::printable(&heading)));
        changes.sort_by(|a, b| (&a.kind, &a.path).cmp(&(&b.kind, &b.path)));
        for change in changes {
            print_change(output, change, all_fields);
        }
        output.line("");
    }
    let summary = Summary::of(changes);
    let Summary { added, changed, removed, noise_only, never_list } = summary;
    if added + changed + removed == 0 {
        output.line("no differences");
    } else {
        let numbers = [(added, "added"), (changed, "changed"), (removed, "removed")];
        let words: Vec<String> = numbers.map(|(number, word)| format!("{} {word}", table::thousands(number))).to_vec();
        output.line(&words.join(", "));
    }
    let hint = if all_fields { "" } else { "; --all-fields shows them" };
    if noise_only > 0 {
        let objects = differing(noise_only);
        output.line(&format!(
            "{objects} in noise only (uid, times, resourceVersion, generation, managedFields, status){hint}"
        ));
    }
    if never_list > 0 {
        let objects = differing(never_list);
        let rules: BTreeSet<&str> = changes.iter().filter_map(|change| Some(change.untouched?.name)).collect();
        let rules: Vec<&str> = rules.into_iter().collect();
        output.line(&format!("{objects} that a restore never touches ({}){hint}", rules.join(", ")));
    }
}

/// `1 object differs`, `2 objects differ`.
fn differing(objects: u64) -> String {
    format!("{} {}", table::count(objects, "object"), if objects == 1 { "differs" } else { "differ" })
}

fn print_change(output: &Output, change: &Reviewed, all_fields: bool) {
    let (tone, sign) = match change.verb {
        Verb::Added => (Tone::Green, '+'),
        Verb::Changed => (Tone::Yellow, '~'),
        Verb::Removed => (Tone::Red, '-'),
    };
    let sizes = match (change.object.is_none(), change.before, change.after) {
        (true, Some(before), Some(after)) => format!(" ({} -> {})", table::bytes(before), table::bytes(after)),
        _ => String::new(),
    };
    let title = field_text::printable(&change.title());
    output.line(&format!("  {}{sizes}", output.paint(tone, &format!("{sign} {title}"))));
    let mut folded = 0;
    for field in &change.fields {
        if field.noise && !all_fields {
            folded += 1;
            continue;
        }
        for (tone, line) in field_text::lines(field) {
            output.line(&format!("      {}", output.paint(tone, &line)));
        }
    }
    if folded > 0 {
        let fields = table::count(folded, "field");
        output.line(&format!("      {}", output.paint(Tone::Dim, &format!("and {fields} of noise"))));
    }
}
