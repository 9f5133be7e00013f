//! `snapback init`: makes a repository in a new or empty folder.

use serde_json::json;
use snapback::store::backend::RepositoryPlace;
use snapback::store::{Repository, StoreError};

use super::error::{Failure, Prefix};
use super::exit::Exit;
use super::session::Session;

/// Makes the repository.
pub(crate) async fn run(session: &Session<'_>) -> Result<Exit, Failure> {
    let repository = match Repository::init(session.backend().await?).await {
        Err(StoreError::NotEmpty { place, .. }) if Repository::open(session.backend().await?).await.is_ok() => {
            return Err(Failure::new(Exit::Refused, format!("there is a repository at `{place}` already"))
                .hint("run `snapback backup` to add a snapshot to it, or name another folder with --repo"));
        }
        outcome => outcome?,
    };
    let history = repository.history().await?;
    session.remember(&repository, &history);
    let readers = match session.place {
        RepositoryPlace::Folder(_) => "in files that only you can read",
        RepositoryPlace::Bucket(_) => "for everybody who may read the bucket",
    };
    let note = format!("the repository is not encrypted: Kubernetes Secrets will lie in it in clear, {readers}");
    session.output.message(Prefix::Note, &note);
    if session.output.is_json() {
        session.output.json("init", json!({"repository": {"id": repository.id(), "place": repository.place()}}));
    } else {
        session.output.line(&format!("made the repository {} in {}", short(repository.id()), repository.place()));
        session.output.progress_line(&format!("next: snapback backup --label pre-upgrade{}", session.place_options()));
    }
    Ok(Exit::Done)
}

/// Enough of a repository's id to tell it from others.
fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}
