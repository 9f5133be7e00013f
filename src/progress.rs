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
    /// A type on its way to another storage version has come so far, for whoever keeps a record of it. Nothing depends
    /// on that record: each step is told from the cluster itself.
    Storage {
        /// Name of the CRD.
        crd: String,
        /// How far.
        stage: StorageStage,
    },
}

/// How far a type is on its way to another storage version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageStage {
    /// Its CRD knows the versions of both sides.
    Union,
    /// Every object is stored at the wanted version.
    Rewritten {
        /// How many there are.
        objects: u64,
    },
    /// The CRD says that only wanted versions are stored.
    Narrowed,
    /// The wanted CRD is there, and the whole type was read.
    Done,
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
