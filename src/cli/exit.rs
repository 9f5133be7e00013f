//! What the exit code of every command means: the design's section 8.

/// How a command ended. The numbers 7, 9 and 11 are kept for upgrades and encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Failed. For `diff --exit-code`: there are differences. For `restore`: a difference is unexplained.
    Failed = 1,
    /// Wrong usage: an argument, a path or the configuration is not understood.
    Usage = 2,
    /// Done, but partial: something optional or unlistable is missing, and was named.
    Partial = 3,
    /// Refused by a check; nothing was changed.
    Refused = 4,
    /// Damage was found.
    Damaged = 5,
    /// Another transaction works on this cluster.
    Held = 6,
    /// Something that was stopped, or a type that is half-way to another version, could not be put back: a person is
    /// needed.
    Stuck = 8,
    /// The live system moved since the plan was made.
    PlanStale = 10,
    /// The snapshot was taken, but is not in every other repository that `backup --also` names.
    NotAlso = 12,
    /// Interrupted by the user, or by the system with SIGTERM: both mean the same, and one code is easier to handle.
    Interrupted = 130,
}

impl Exit {
    /// The number.
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The list in `snapback --help` and in the man page.
pub(crate) const TABLE: &str = "\
Exit codes:
  0    done
  1    failed; for `diff --exit-code`: there are differences; for `restore`, `rollback`, `undo`: something is not as it was
  2    wrong usage
  3    done, but partial: something is missing and was named
  4    refused by a check, nothing was changed
  5    damage found
  6    another restore, rollback or undo works on this cluster
  8    something that was stopped, or a type half-way to another version, could not be put back; a person is needed
  10   the cluster moved since the plan was made
  12   the snapshot was taken, but another repository (`backup --also`) does not have it
  130  interrupted (Ctrl-C or SIGTERM); nothing was committed, or a restore says how far it came";
