//! How the library tells the command line how far it is, without ever printing (I11).

/// Something worth showing to the person who waits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProgressEvent {
    /// A new stage of work, as a present participle: `reading the cluster`.
    Stage(String),
    /// How much work the stage has in all, once known (in the unit that `Done` counts).
    Expect(u64),
    /// So many more units are done.
    Done(u64),
    /// A line worth keeping: something skipped, retried or waited for.
    Note(String),
}

/// Receives progress. Called from many tasks at once; must not block.
pub trait Progress: Send + Sync {
    /// Takes one event.
    fn report(&self, event: ProgressEvent);
}

/// Shows nothing.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _event: ProgressEvent) {}
}
