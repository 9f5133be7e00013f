//! The newest log entry that this machine saw of each repository: what a repository cannot prove of itself.
//!
//! In and out: `${XDG_STATE_HOME:-~/.local/state}/snapback/heads/<repository id>`, `<number> <hash>`, mode 0600. The
//! library never reads it: it is given the value (I3, I11).

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use snapback::store::Head;

use super::state;

/// The file of one repository; `None` without a home folder.
pub(crate) fn file(repository: &str) -> Option<PathBuf> {
    state::place("heads", repository)
}

/// What this machine remembers of a repository.
pub(crate) fn recall(repository: &str) -> Option<Head> {
    read(&file(repository)?)
}

fn read(path: &Path) -> Option<Head> {
    let text = fs::read_to_string(path).ok()?;
    let (number, hash) = text.trim_end().split_once(' ')?;
    Some(Head { number: number.parse().ok()?, hash: hash.parse().ok()? })
}

/// Remembers a head; an older one than is known already changes nothing.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn remember(repository: &str, head: &Head) -> std::io::Result<()> {
    let Some(path) = file(repository) else { return Ok(()) };
    if read(&path).is_some_and(|known| known.number >= head.number) {
        return Ok(());
    }
    let Some(folder) = path.parent() else { return Ok(()) };
    fs::create_dir_all(folder)?;
    // Made with mode 0600 and moved into place: a reader never sees half of it.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    writeln!(file, "{} {}", head.number, head.hash)?;
    file.as_file().sync_all()?;
    file.persist(&path)?;
    Ok(())
}
