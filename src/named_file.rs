//! Files that a person names: a configuration, a kubeconfig, a plan.
//!
//! In: a path, and how much is read at most. Out: all of its bytes. Invariant: what has no end, such as `/dev/zero` or a file
//! of many gigabytes, is refused before it fills the memory. A pipe is read, since a shell's `<(command)` is one, and so is
//! `/dev/null`.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

/// The largest configuration or kubeconfig: etcd itself takes no Secret of more.
pub const MOST_OF_A_CONFIGURATION: u64 = 16 << 20;
/// The largest plan: one of 100,000 objects has a tenth of it.
pub const MOST_OF_A_PLAN: u64 = 512 << 20;

/// Refuses what is too large, without keeping any of it. What can be read only once, a pipe, is not looked at.
///
/// # Errors
/// It is not there, or has more than `most` bytes.
pub fn check(path: &Path, most: u64) -> io::Result<()> {
    let found = fs::metadata(path)?;
    let bytes = if found.file_type().is_char_device() || found.file_type().is_block_device() {
        io::copy(&mut File::open(path)?.take(most + 1), &mut io::sink())?
    } else {
        found.len()
    };
    if bytes > most { Err(too_large(most)) } else { Ok(()) }
}

/// Reads it whole.
///
/// # Errors
/// It is not there, cannot be read, or has more than `most` bytes.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(too_large(most)) } else { Ok(bytes) }
}

fn too_large(most: u64) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {} MiB", most >> 20))
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::path::Path;

    use super::{check, read};

    #[test]
    fn what_has_no_end_is_not_read() {
        const MOST: u64 = 1 << 20;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "text").unwrap();
        assert_eq!(read(&file, MOST).unwrap(), b"text");
        assert_eq!(read(Path::new("/dev/null"), MOST).unwrap(), b"");
        check(Path::new("/dev/null"), MOST).unwrap();
        let large = folder.path().join("large");
        std::fs::File::create(&large).unwrap().set_len(MOST + 1).unwrap();
        for endless in [Path::new("/dev/zero"), &large] {
            assert_eq!(read(endless, MOST).unwrap_err().kind(), ErrorKind::FileTooLarge);
            assert_eq!(check(endless, MOST).unwrap_err().kind(), ErrorKind::FileTooLarge);
        }
        assert_eq!(check(&folder.path().join("missing"), MOST).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
