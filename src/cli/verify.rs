//! `snapback verify`: is the repository whole, and if not, what does that cost?

use serde_json::json;
use snapback::maintain::verify::{Damage, VerifyLevel, VerifyOptions, verify};
use snapback::store::{Repository, StoreError};

use super::arguments::{LevelName, VerifyArguments};
use super::error::{Failure, Prefix};
use super::exit::Exit;
use super::field_text::printable;
use super::heads;
use super::output::{Output, Tone};
use super::progress::Shown;
use super::session::Session;
use super::table;

/// Verifies, and remembers the log's end when all is well.
pub(crate) async fn run(session: &Session<'_>, arguments: &VerifyArguments) -> Result<Exit, Failure> {
    let repository = match Repository::open(session.backend().await?).await {
        Ok(repository) => Some(repository),
        // Even its first file is not what it was: what else is damaged is told below.
        Err(StoreError::Damaged { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let remembered = repository.as_ref().and_then(|repository| heads::recall(repository.id()));
    let level = match arguments.level {
        LevelName::Names => VerifyLevel::Names,
        LevelName::Bytes => VerifyLevel::Bytes,
        LevelName::Objects => VerifyLevel::Objects,
    };
    let output = session.output;
    let shown = Shown::new(output);
    let report = verify(session.backend().await?, &VerifyOptions { level, remembered }, &shown).await?;
    drop(shown);
    for note in &report.notes {
        output.message(Prefix::Note, &printable(note));
    }
    if let Some(repository) = repository.filter(|_| report.is_sound()) {
        session.remember(&repository, &repository.history().await?);
    }
    if output.is_json() {
        let remembered = remembered.map(|head| json!({"number": head.number, "hash": head.hash}));
        output.json("verify", json!({"sound": report.is_sound(), "remembered": remembered, "report": report}));
    } else {
        for damage in &report.damage {
            print_damage(output, damage);
        }
        let checked = &report.checked;
        let what = match level {
            VerifyLevel::Names => "names and sizes",
            VerifyLevel::Bytes => "every byte",
            VerifyLevel::Objects => "every byte, object and reference",
        };
        let verdict = match report.damage.len() {
            0 => output.paint(Tone::Green, "no damage"),
            count => output.paint(Tone::Red, &format!("{} damaged", table::count(count as u64, "file"))),
        };
        output.line(&format!(
            "{verdict}: checked {what} of {} and {} ({} read)",
            table::count(checked.files, "file"),
            table::count(checked.snapshots, "snapshot"),
            table::bytes(checked.bytes),
        ));
    }
    Ok(if report.is_sound() { Exit::Done } else { Exit::Damaged })
}

fn print_damage(output: &Output, damage: &Damage) {
    output.line(&format!("{} {}: {}", output.paint(Tone::Red, "damaged"), damage.file, printable(&damage.what)));
    if damage.snapshots.is_empty() {
        output.line("  costs no snapshot anything");
        return;
    }
    let numbers: Vec<String> = damage.snapshots.iter().map(|number| format!("#{number}")).collect();
    output.line(&format!("  costs {}", numbers.join(", ")));
    for path in &damage.objects {
        output.line(&format!("    {}", printable(path)));
    }
    let more = damage.object_count.saturating_sub(damage.objects.len() as u64);
    if more > 0 {
        output.line(&format!("    and {} more", table::thousands(more)));
    }
}
