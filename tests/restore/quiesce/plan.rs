//! A restore sees the world as it is while things are held: no hold is a difference, and none is undone.

use serde_json::{Value, json};
use snapback::progress::Silent;
use snapback::restore::quiesce::{HELD_BY, HELD_REPLICAS, Holding, Started, target};
use snapback::restore::{Plan, RestoreOptions, Unrecorded, Wait, apply, plan, prove};
use snapback::snapshot::Selection;
use snapback::store::SnapshotTree;

use super::workloads::{DEPLOYMENTS, TWO};
use super::{bytes, deployment, stopped};
use crate::restore::site::{Site, actions, fields};

const FOLDER: &str = "cluster/apps/deployments/cozy-system";

fn holding() -> RestoreOptions {
    let held = ["cozystack", "cozystack-operator"].map(|name| stopped(deployment(name), TWO));
    RestoreOptions { holding: Holding::new("t1", &held), ..RestoreOptions::new(Selection::everything()) }
}

impl Site {
    async fn plan_while_held(&self, wanted: &SnapshotTree) -> (SnapshotTree, Plan) {
        let live = self.snapshot().await;
        let plan = plan(&self.cluster, &live, wanted, &holding(), &Silent).await.unwrap();
        (live, plan)
    }

    async fn deployment(&self, name: &str) -> Value {
        self.get(&format!("{DEPLOYMENTS}/{name}")).await.unwrap()
    }

    pub(super) async fn what_is_held_stays_held_through_a_restore_and_ends_exactly(&self) {
        self.installer("cozystack").await;
        self.installer("cozystack-operator").await;
        let wanted = self.snapshot().await;

        let edit =
            json!({"spec": {"template": {"metadata": {"labels": {"new": "1"}}}}, "metadata": {"labels": {"new": "1"}}});
        self.patch(&format!("{DEPLOYMENTS}/cozystack"), edit).await;
        self.stop(&deployment("cozystack"), &TWO).await.unwrap();
        self.remove(&format!("{DEPLOYMENTS}/cozystack-operator")).await;
        self.until(async || self.pods_of("cozystack-operator").await.is_empty()).await;

        let (live, found) = self.plan_while_held(&wanted).await;
        assert_eq!(
            actions(&found),
            [format!("create {FOLDER}/cozystack-operator.json"), format!("update {FOLDER}/cozystack.json")]
        );
        let fields = fields(&found, &format!("{FOLDER}/cozystack.json"));
        assert_eq!(fields, ["metadata.labels.new", "spec.template.metadata.labels.new"], "the hold is no difference");

        let applied = apply(&self.cluster, &found, &live, &wanted, &holding(), &Silent, &Unrecorded).await.unwrap();
        assert_eq!(applied.failures().count(), 0, "{:#?}", applied.steps);
        let proof = prove(&self.cluster, &applied, &wanted, &holding(), Wait::Skip, &Silent).await.unwrap();
        assert!(proof.holds(), "{:#?}", proof.unexplained);
        let (_, second) = self.plan_while_held(&wanted).await;
        assert!(second.is_empty(), "{:#?}", second.actions);
        for name in ["cozystack", "cozystack-operator"] {
            let held = self.deployment(name).await;
            let marks = &held["metadata"]["annotations"];
            assert_eq!(
                (&held["spec"]["replicas"], &marks[HELD_BY], &marks[HELD_REPLICAS]),
                (&json!(0), &json!("t1"), &json!("2"))
            );
            assert!(self.pods_of(name).await.is_empty(), "{name} does not run yet");
        }

        for name in ["cozystack-operator", "cozystack"] {
            let whole = target(&deployment(name), &live, Some(&wanted)).await.unwrap().unwrap();
            assert_eq!(self.start_again(&deployment(name), &TWO, Some(&whole)).await, Started::Exact, "{name}");
            assert_eq!(bytes(&self.deployment(name).await), bytes(&whole), "{name}");
        }
        let options = RestoreOptions::new(Selection::everything());
        let proof = prove(&self.cluster, &applied, &wanted, &options, Wait::Skip, &Silent).await.unwrap();
        assert!(proof.holds(), "{:#?}", proof.unexplained);
    }
}
