//! A transaction that snapback carried out, rewritten in both copies of its journal as if it had come otherwise: killed
//! earlier, given up, or carried out by a machine whose clock is wrong.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use snapback::journal::{Event, Outcome, Reason, Record, TransactionId};
use snapback::store::ContentHash;

use crate::harness::control_plane::ControlPlane;
use crate::harness::snapback::Snapback;

/// The journal of one transaction.
pub(super) struct Rewritten<'a> {
    snapback: &'a Snapback,
    pub(super) transaction: TransactionId,
    /// Its events with their times.
    records: Vec<(Timestamp, Event)>,
    /// When it ended.
    end: Timestamp,
}

/// The transactions of the repository.
pub(super) fn transactions(snapback: &Snapback) -> BTreeSet<String> {
    let folder = fs::read_dir(snapback.repository().join("journal"));
    folder.into_iter().flatten().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

impl<'a> Rewritten<'a> {
    /// Runs it, and reads what it wrote.
    pub(super) fn run(snapback: &'a Snapback, arguments: &[&str]) -> Self {
        let before = transactions(snapback);
        snapback.ok(arguments);
        let after = transactions(snapback);
        let transaction = after.difference(&before).next().unwrap().parse().unwrap();
        Self::read(snapback, transaction)
    }

    pub(super) fn read(snapback: &'a Snapback, transaction: TransactionId) -> Self {
        let mut rewritten = Self { snapback, transaction, records: Vec::new(), end: Timestamp::MIN };
        let mut number = 0;
        while let Ok(line) = fs::read(rewritten.mirror(number)) {
            let record = Record::parse(&rewritten.transaction, number, &line).unwrap();
            rewritten.end = record.time;
            rewritten.records.push((record.time, record.event));
            number += 1;
        }
        rewritten
    }

    /// The file in the repository.
    pub(super) fn mirror(&self, number: u64) -> PathBuf {
        self.snapback.repository().join(format!("journal/{}/{number:020}.json", self.transaction))
    }

    /// The file on this machine.
    pub(super) fn local(&self) -> PathBuf {
        let journals = self.snapback.home().join(".local/state/snapback/journals");
        let repository = fs::read_dir(journals).unwrap().next().unwrap().unwrap().path();
        repository.join(format!("{}.jsonl", self.transaction))
    }

    /// Only these are kept of its records.
    pub(super) fn only(mut self, kinds: &[&str]) -> Self {
        self.records.retain(|(_, event)| kinds.contains(&event.kind()));
        self
    }

    /// These are not.
    pub(super) fn without(mut self, kinds: &[&str]) -> Self {
        self.records.retain(|(_, event)| !kinds.contains(&event.kind()));
        self
    }

    /// What follows them.
    pub(super) fn and(mut self, events: impl IntoIterator<Item = Event>) -> Self {
        self.records.extend(events.into_iter().map(|event| (self.end, event)));
        self
    }

    /// By another clock, also in its name.
    pub(super) fn shifted(mut self, by: SignedDuration) -> Self {
        self.records.iter_mut().for_each(|(time, _)| *time += by);
        let transaction = TransactionId::new(self.records[0].0).unwrap();
        self.remove();
        Self { transaction, ..self }
    }

    /// Takes both copies away.
    pub(super) fn remove(&self) {
        fs::remove_dir_all(self.mirror(0).parent().unwrap()).unwrap();
        fs::remove_file(self.local()).unwrap();
    }

    /// Writes both copies.
    pub(super) fn write(self) -> Self {
        let folder = self.mirror(0).parent().unwrap().to_owned();
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        fs::create_dir(&folder).unwrap();
        let mut lines: Vec<Vec<u8>> = Vec::new();
        for (number, (time, event)) in (0..).zip(&self.records) {
            let previous = lines.last().map(|line| ContentHash::of(line));
            let (transaction, time, event) = (self.transaction.clone(), *time, event.clone());
            lines.push(Record { transaction, number, previous, time, event }.to_line().unwrap());
            fs::write(self.mirror(number), lines.last().unwrap()).unwrap();
        }
        fs::write(self.local(), lines.concat()).unwrap();
        self
    }
}

/// One object, each of whose values is something to restore.
pub(super) struct Value<'a> {
    cluster: &'a ControlPlane,
    namespace: &'a str,
}

impl<'a> Value<'a> {
    /// Made with the value 1; snapshot 1 has it.
    pub(super) fn saved(cluster: &'a ControlPlane, namespace: &'a str) -> (Self, Snapback) {
        cluster.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}"));
        let value = Self { cluster, namespace };
        value.set("1");
        let snapback = Snapback::new().with_kubeconfig(&cluster.kubeconfig());
        snapback.ok(&["init"]);
        snapback.ok(&["backup"]);
        (value, snapback)
    }

    pub(super) fn set(&self, value: &str) {
        self.cluster.apply(&format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: a, namespace: {}}}, data: {{value: '{value}'}}}}",
            self.namespace
        ));
    }

    pub(super) fn get(&self) -> String {
        self.cluster.kubectl(&["get", "cm", "a", "-n", self.namespace, "-o", "jsonpath={.data.value}"])
    }

    /// Changes it and restores it: the snapshot that is taken before has this value.
    pub(super) fn restored<'s>(&self, snapback: &'s Snapback, value: &str) -> Rewritten<'s> {
        self.set(value);
        let run = Rewritten::run(
            snapback,
            &["restore", "1", "--yes", "--no-wait", "--only", &format!("cm/{}", self.namespace)],
        );
        assert_eq!(self.get(), "1");
        run
    }
}

/// How a transaction ends that was given up.
pub(super) fn given_up(reason: Reason) -> [Event; 3] {
    [Event::GivenUp { reason: reason.clone() }, Event::Running {}, Event::Ended { outcome: Outcome::Failed { reason } }]
}
