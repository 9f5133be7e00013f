//! The kill matrix of a rollback on a real control plane (I7, I8): a process that dies on either side of a record, and
//! another one that goes on, end where one that lives would. The third side, after an effect, is before the next record.
//! Every record with SNAPBACK_SOAK=1, a sample otherwise.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use snapback::journal::{
    Begun, Event, JournalStore, OpenJournal, Outcome, Purpose, SnapshotName, TransactionId, TwoCopies,
};
use snapback::progress::Silent;
use snapback::restore::Wait;
use snapback::rollback::{RollbackError, Settings, drive};
use snapback::store::backend::LocalBackend;
use snapback::store::{Repository, Snapshot};

use crate::harness::control_plane::Options;
use crate::harness::snapback::Snapback;
use crate::journal::countdown::{Countdown, Side, is_killed};
use crate::restore::site::Site;

const TOOL: &str = "snapback test";
const MAPS: &str = "/api/v1/namespaces/cozy-system/configmaps";
const INSTALLER: &str = "/apis/apps/v1/namespaces/cozy-system/deployments/cozystack";

/// Records of the rollback below, told once by letting one live.
struct Case {
    site: Site,
    snapback: Snapback,
    repository: Repository,
    wanted: Snapshot,
}

impl Case {
    async fn start() -> Self {
        let site = Site::start(Options::default().controllers()).await;
        site.namespace("cozy-system").await;
        let labels = json!({"app": "cozystack"});
        let container = json!({"name": "installer", "image": "example.org/installer:v1"});
        let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [container]}});
        let spec = json!({"replicas": 1, "selector": {"matchLabels": labels}, "template": template});
        let installer =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "cozystack"}, "spec": spec});
        site.post("/apis/apps/v1/namespaces/cozy-system/deployments", installer).await;
        for name in ["edited", "deleted"] {
            site.post(MAPS, json!({"metadata": {"name": name}, "data": {"a": "1"}})).await;
        }
        site.until(async || site.get(INSTALLER).await.is_some_and(|it| it["status"]["readyReplicas"] == 1)).await;
        let snapback = Snapback::new().with_kubeconfig(&site.control_plane().kubeconfig());
        snapback.ok(&["init"]);
        let repository = Repository::open(Arc::new(LocalBackend::new(snapback.repository()))).await.unwrap();
        let wanted = backup(&snapback, &repository).await;
        Self { site, snapback, repository, wanted }
    }

    fn store(&self, transaction: &TransactionId) -> Box<dyn JournalStore> {
        let folder = self.snapback.home().join("journals");
        Box::new(TwoCopies::new(folder, Arc::clone(self.repository.backend()), transaction.clone()))
    }

    /// Something to put back: an edit, a removal, an addition.
    async fn accident(&self) {
        self.site.patch(&format!("{MAPS}/edited"), json!({"data": {"a": "2"}})).await;
        self.site.delete(&format!("{MAPS}/deleted")).await;
        self.site.post(MAPS, json!({"metadata": {"name": "added"}})).await;
    }

    /// Begins a transaction up to its second record.
    async fn begin(&self, store: Box<dyn JournalStore>) -> Result<OpenJournal, RollbackError> {
        let begun = Begun {
            purpose: Purpose::Rollback,
            cluster: self.wanted.body.cluster.clone(),
            wanted: name(&self.wanted),
            scope: "platform".to_owned(),
            force: Vec::new(),
            reviewed: None,
            tool: TOOL.to_owned(),
            holder: "a".to_owned(),
        };
        // The command itself takes it once the first record stands; by hand that would be refused then.
        let before = name(&backup(&self.snapback, &self.repository).await);
        let mut journal = OpenJournal::begin(store, begun).await?;
        journal.append(Event::Saved { before }).await?;
        Ok(journal)
    }

    async fn drive(&self, journal: &mut OpenJournal) -> Result<(), RollbackError> {
        let settings = Settings { extra: Vec::new(), patience: Duration::from_secs(60), wait: Wait::Skip, parallel: 4 };
        let report = drive(&self.repository, &self.site.cluster, journal, &settings, &Silent).await?;
        assert_eq!(report.outcome, Some(Outcome::Done {}), "{report:#?}");
        Ok(())
    }

    /// The cluster is as the snapshot, and what was held runs and bears no mark.
    async fn check(&self, what: &str) {
        let wanted = self.repository.tree(&self.wanted).await.unwrap();
        let (_, plan) = self.site.plan(&wanted).await;
        assert!(plan.is_empty(), "{what}: {:#?}", plan.actions);
        let installer = self.site.get(INSTALLER).await.unwrap();
        assert_eq!(installer["spec"]["replicas"], 1, "{what}");
        assert!(!installer["metadata"]["annotations"].to_string().contains("snapback"), "{what}: {installer:#}");
    }
}

fn name(snapshot: &Snapshot) -> SnapshotName {
    SnapshotName { number: snapshot.number, id: snapshot.id }
}

async fn backup(snapback: &Snapback, repository: &Repository) -> Snapshot {
    snapback.ok(&["backup"]);
    repository.history().await.unwrap().snapshots().last().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_record_a_rollback_ends_as_if_it_had_lived() {
    let case = Case::start().await;
    case.accident().await;
    let id = TransactionId::new(jiff::Timestamp::now()).unwrap();
    let mut journal = case.begin(case.store(&id)).await.unwrap();
    case.drive(&mut journal).await.unwrap();
    let records = journal.records().len();
    case.check("without a kill").await;

    let soak = std::env::var_os("SNAPBACK_SOAK").is_some();
    // Record 0 is the decision: before it nothing was done. The last ones are seldom interesting.
    let all = (2..records).flat_map(|record| [(record, Side::Before), (record, Side::After)]);
    let sample = all.enumerate().filter(|(number, _)| soak || number % 5 == 1).map(|(_, kill)| kill);
    for (record, side) in sample {
        let what = format!("killed {side:?} record {record} of {records}");
        case.accident().await;
        let id = TransactionId::new(jiff::Timestamp::now()).unwrap();
        let died = async {
            let mut journal = case.begin(Countdown::new(case.store(&id), record, side)).await?;
            case.drive(&mut journal).await
        };
        match died.await {
            Err(RollbackError::Journal(error)) if is_killed(&error) => {}
            other => panic!("{what}: {other:?}"),
        }
        match OpenJournal::resume(case.store(&id), TOOL, "b").await {
            Ok(mut journal) => case.drive(&mut journal).await.unwrap_or_else(|error| panic!("{what}: {error:?}")),
            // It died after its last record.
            Err(error) => assert_eq!((record, side), (records - 1, Side::After), "{what}: {error:?}"),
        }
        case.check(&what).await;
    }
}
