//! `snapback export SNAPSHOT DESTINATION`: the objects as YAML files, in a folder or a tar.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use snapback::maintain::{ExportError, ExportOptions, Exported, ManifestSink, SECRETS_LEFT_OUT, export};
use snapback::restore::{Reach, never_list};
use snapback::snapshot::ObjectPath;

use super::advice::shell_word;
use super::arguments::ExportArguments;
use super::error::{Failure, Prefix};
use super::exit::Exit;
use super::output::Output;
use super::progress::Shown;
use super::session::Session;
use super::snapshot_name::SnapshotName;
use super::table;

/// Writes it.
pub(crate) async fn run(session: &Session<'_>, arguments: &ExportArguments) -> Result<Exit, Failure> {
    let destination = Destination::parse(&arguments.destination);
    destination.check(session.output)?;
    let name = SnapshotName::parse(&arguments.snapshot)?;
    let opened = session.open().await?;
    let side = session.side(&opened, &name, None).await?;
    let selection = session.selection_in(&[&side.tree]).await?;
    let options = ExportOptions { raw: arguments.raw, with_secrets: arguments.reveal };
    let shown = Shown::new(session.output);
    let exported = match &destination {
        Destination::Folder(folder) => {
            let mut sink = FolderSink::new(folder)?;
            export(&side.tree, &selection, options, &made_elsewhere, &mut sink, &shown).await?
        }
        Destination::Tar(file) => {
            let mut sink = TarSink(tar::Builder::new(new_file(file)?));
            let exported = export(&side.tree, &selection, options, &made_elsewhere, &mut sink, &shown).await?;
            let finished = sink.0.into_inner().and_then(|file| file.sync_all());
            finished.map_err(|error| cannot_write(file, &error))?;
            exported
        }
        Destination::StandardOutput => {
            let mut sink = TarSink(tar::Builder::new(Results(session.output)));
            let exported = export(&side.tree, &selection, options, &made_elsewhere, &mut sink, &shown).await?;
            sink.0.finish().map_err(|error| cannot_write(Path::new("-"), &error))?;
            exported
        }
    };
    drop(shown);
    report(session.output, &destination, arguments, &exported);
    Ok(Exit::Done)
}

/// What a restore never touches, another cluster has or makes by itself.
fn made_elsewhere(place: &ObjectPath, object: &Value) -> Option<String> {
    let rule = never_list().iter().find(|rule| rule.reach == Reach::Untouched && rule.matches(place, object))?;
    Some(format!("{}: {}", rule.covers, rule.reason))
}

/// Where the files go.
enum Destination {
    Folder(PathBuf),
    Tar(PathBuf),
    StandardOutput,
}

impl Destination {
    fn parse(path: &Path) -> Self {
        if path.as_os_str() == "-" {
            Self::StandardOutput
        } else if path.extension().is_some_and(|extension| extension == "tar") {
            Self::Tar(path.to_owned())
        } else {
            Self::Folder(path.to_owned())
        }
    }

    /// Nothing is overwritten, and no tar goes to a terminal.
    fn check(&self, output: &Output) -> Result<(), Failure> {
        match self {
            Self::Folder(folder) => {
                let taken = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) || folder.is_file();
                if taken {
                    return Err(Failure::new(Exit::Refused, format!("`{}` is not empty", folder.display()))
                        .hint("name a new or empty folder, or a file that ends in .tar"));
                }
            }
            Self::Tar(file) if file.exists() => {
                return Err(Failure::new(Exit::Refused, format!("`{}` is there already", file.display()))
                    .hint("name a new file"));
            }
            Self::Tar(_) => {}
            Self::StandardOutput if output.is_json() => {
                return Err(Failure::new(Exit::Usage, "standard output takes either the tar or the JSON document")
                    .hint("name a file that ends in .tar"));
            }
            Self::StandardOutput if io::stdout().is_terminal() => {
                return Err(Failure::new(Exit::Refused, "a tar is not for a terminal")
                    .hint("pipe it on, or name a file that ends in .tar"));
            }
            Self::StandardOutput => {}
        }
        Ok(())
    }
}

/// One file an object, mode 0600, folders 0700.
struct FolderSink {
    root: PathBuf,
    builder: DirBuilder,
}

impl FolderSink {
    fn new(root: &Path) -> Result<Self, Failure> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(root).map_err(|error| cannot_write(root, &error))?;
        Ok(Self { root: root.to_owned(), builder })
    }
}

impl ManifestSink for FolderSink {
    fn write(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let path = self.root.join(name);
        if let Some(folder) = path.parent() {
            self.builder.create(folder)?;
        }
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(content)
    }
}

/// The same files in a tar, with the same modes and no times.
struct TarSink<W: Write>(tar::Builder<W>);

impl<W: Write> ManifestSink for TarSink<W> {
    fn write(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o600);
        header.set_size(content.len() as u64);
        self.0.append_data(&mut header, name, content)
    }
}

/// Standard output as a plain writer.
struct Results<'a>(&'a Output);

impl Write for Results<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.raw(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn new_file(path: &Path) -> Result<File, Failure> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot write `{}`", path.display())).caused_by(error)
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Store(error) => error.into(),
            error => Self::of(Exit::Failed, &error),
        }
    }
}

fn report(output: &Output, destination: &Destination, arguments: &ExportArguments, exported: &Exported) {
    for (reason, count) in &exported.left_out {
        let hint = if reason == SECRETS_LEFT_OUT { " (--reveal)" } else { "" };
        output.progress_line(&format!("left out {count} of {reason}{hint}"));
    }
    if exported.secrets > 0 {
        let secrets = table::count(exported.secrets, "Secret");
        output.message(Prefix::Warning, &format!("{secrets} written in clear, in files that only you can read"));
    }
    if output.is_json() {
        output.json(
            "export",
            json!({
                "destination": arguments.destination.display().to_string(),
                "objects": exported.objects,
                "secrets": exported.secrets,
                "leftOut": exported.left_out,
                "folders": exported.folders,
            }),
        );
        return;
    }
    let objects = table::count(exported.objects, "object");
    match destination {
        Destination::StandardOutput => output.progress_line(&format!("wrote {objects}")),
        Destination::Tar(file) => output.line(&format!("wrote {objects} to {}", file.display())),
        Destination::Folder(folder) => {
            output.line(&format!("wrote {objects} to {}", folder.display()));
            if !arguments.raw {
                output.progress_line("to apply it, folder by folder:");
                for name in &exported.folders {
                    let folder = shell_word(&folder.join(name).display().to_string());
                    output.progress_line(&format!("  kubectl apply --server-side --force-conflicts -R -f {folder}"));
                }
            }
        }
    }
}
