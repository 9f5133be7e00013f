//! Where this machine keeps what it knows of a repository: `${XDG_STATE_HOME:-~/.local/state}/snapback/<kind>/<id>`.

use std::path::PathBuf;

/// The place of one kind for one repository; `None` without a home folder. Ids are hexadecimal; anything else could
/// leave the folder.
pub(crate) fn place(kind: &str, repository: &str) -> Option<PathBuf> {
    let plain = !repository.is_empty() && repository.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    plain.then(|| state.join("snapback").join(kind).join(repository))
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn an_id_cannot_leave_the_folder() {
        for id in ["", "..", "a/b", "a.b"] {
            assert_eq!(place("heads", id), None, "{id}");
        }
    }
}
