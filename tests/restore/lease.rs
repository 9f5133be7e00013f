//! One writer at a time: two transactions, a process that died, and a lease that is lost.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use snapback::cluster::{Cluster, ClusterError, ConnectOptions};
use snapback::restore::{Lease, LeaseError, LeaseLost, LeaseOptions, Predecessor};

use crate::harness::control_plane::ControlPlane;

/// Renewed soon, so that a loss is seen soon; lasting long, so that a slow machine loses nothing.
fn options(name: &str) -> LeaseOptions {
    LeaseOptions {
        name: name.to_owned(),
        duration: Duration::from_secs(60),
        renew_every: Duration::from_millis(300),
        ..LeaseOptions::default()
    }
}

async fn shared() -> Cluster {
    let kubeconfig = tokio::task::spawn_blocking(|| ControlPlane::shared().kubeconfig()).await.unwrap();
    Cluster::connect(&ConnectOptions { kubeconfig: Some(kubeconfig), context: None }).await.unwrap()
}

async fn read(cluster: &Cluster, name: &str) -> Option<Value> {
    let url = format!("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/{name}");
    cluster.get(&url).await.ok().map(|bytes| serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_transaction_is_refused_until_the_first_gives_the_lease_back() {
    let cluster = shared().await;
    let long = options("two-holders");
    let first = Lease::acquire(&cluster, "t1", &long).await.unwrap();
    first.guard().check().unwrap();
    let refused = Lease::acquire(&cluster, "t2", &long).await.unwrap_err();
    let LeaseError::Held { lease, holder, until } = &refused else { panic!("{refused}") };
    assert_eq!((lease.as_str(), holder.as_str()), ("kube-system/two-holders", "t1"));
    let text = refused.to_string();
    let expected = format!(
        "transaction `t1` works on this cluster: it holds the lease `kube-system/two-holders` until {until} by the API server's clock"
    );
    assert_eq!(text, expected);
    let mut guard = first.guard();
    first.release().await.unwrap();
    assert!(matches!(guard.lost().await, LeaseLost::GivenBack { .. }));
    assert!(guard.check().is_err(), "who gave it back does not write");
    assert!(read(&cluster, "two-holders").await.is_none(), "nothing stays behind");
    Lease::acquire(&cluster, "t2", &long).await.unwrap().release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_ran_out_is_taken_over_and_who_lost_it_writes_no_more() {
    let cluster = shared().await;
    let old = json!({"metadata": {"name": "taken"}, "spec": {"holderIdentity": "t0", "leaseDurationSeconds": 1,
        "leaseTransitions": 4, "renewTime": "2020-01-01T00:00:00.000000Z"}});
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
    cluster.send(Method::POST, leases, Some(old.to_string().into_bytes())).await.unwrap();
    let first = Lease::acquire(&cluster, "t1", &options("taken")).await.unwrap();
    let taken = read(&cluster, "taken").await.unwrap();
    assert_eq!((&taken["spec"]["holderIdentity"], &taken["spec"]["leaseTransitions"]), (&json!("t1"), &json!(5)));
    let gated = cluster.gated(Arc::new(first.guard()));
    let map = json!({"metadata": {"generateName": "gated-"}}).to_string().into_bytes();
    let maps = "/api/v1/namespaces/default/configmaps?dryRun=All";
    gated.send(Method::POST, maps, Some(map.clone())).await.unwrap();

    // Another process of the same transaction, while this one lives, is as foreign as any.
    let refused = Lease::acquire(&cluster, "t1", &options("taken")).await.unwrap_err();
    assert!(matches!(&refused, LeaseError::Held { holder, .. } if holder == "t1"), "{refused}");
    // One that knows better takes it at once.
    let knowing = LeaseOptions { predecessor: Predecessor::Dead, ..options("taken") };
    let second = Lease::acquire(&cluster, "t1", &knowing).await.unwrap();
    let mut guard = first.guard();
    let lost = guard.lost().await;
    assert_eq!(lost.to_string(), "the lease `kube-system/taken` was taken by transaction `t1`");
    assert_eq!(guard.check(), Err(lost));
    let refused = gated.send(Method::POST, maps, Some(map)).await.unwrap_err();
    assert!(matches!(&refused, ClusterError::Gated { .. }), "{refused}");
    gated.get("/api/v1/namespaces/default").await.unwrap();
    assert!(matches!(first.release().await, Err(LeaseError::Lost(LeaseLost::Taken { .. }))));

    second.release().await.unwrap();

    // One that dies without a word: its successor waits until the lease has run out.
    let short = LeaseOptions { duration: Duration::from_secs(2), ..options("taken") };
    drop(Lease::acquire(&cluster, "t1", &short).await.unwrap());
    assert!(read(&cluster, "taken").await.is_some(), "nobody gave it back");
    let third = Lease::acquire(&cluster, "t1", &options("taken")).await.unwrap();
    third.guard().check().unwrap();
    third.release().await.unwrap();
}

/// Waits for what comes about by itself; so long that only what never does fails.
async fn until(mut look: impl AsyncFnMut() -> bool) {
    let became = async {
        while !look().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), became).await.expect("it never became true");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_while_the_lease_cannot_be_renewed() {
    let admin = shared().await;
    let kubeconfig =
        tokio::task::spawn_blocking(|| ControlPlane::shared().kubeconfig_for("lessee", None)).await.unwrap();
    let lessee = Cluster::connect(&ConnectOptions { kubeconfig: Some(kubeconfig), context: None }).await.unwrap();
    let rules = json!([{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]}]);
    let binding = json!({"metadata": {"name": "lessee"}, "subjects": [{"kind": "User", "name": "lessee"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "lessee"}});
    let rbac = |resource: &str| format!("/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/{resource}");
    let role = json!({"metadata": {"name": "lessee"}, "rules": rules});
    let made = |body: &Value| Some(body.to_string().into_bytes());
    admin.send(Method::POST, &rbac("roles"), made(&role)).await.unwrap();
    admin.send(Method::POST, &rbac("rolebindings"), made(&binding)).await.unwrap();

    let short = LeaseOptions { duration: Duration::from_secs(3), ..options("unrenewed") };
    // The API server learns of a right with a delay.
    let mut lease = None;
    until(async || {
        lease = Lease::acquire(&lessee, "t1", &short).await.ok();
        lease.is_some()
    })
    .await;
    let lease = lease.unwrap();
    let guard = lease.guard();
    until(async || guard.check().is_ok()).await;
    admin.send(Method::DELETE, &format!("{}/lessee", rbac("rolebindings")), None).await.unwrap();
    until(async || guard.check().is_err()).await;
    let gated = admin.gated(Arc::new(lease.guard()));
    let map = json!({"metadata": {"generateName": "gated-"}});
    let maps = "/api/v1/namespaces/default/configmaps?dryRun=All";
    // It stays so: nobody gives the right back.
    let refused = gated.send(Method::POST, maps, made(&map)).await.unwrap_err().to_string();
    assert!(refused.contains("the lease `kube-system/unrenewed` could not be renewed for "), "{refused}");

    // Nobody took it: it is renewed, and the work can go on.
    admin.send(Method::POST, &rbac("rolebindings"), made(&binding)).await.unwrap();
    until(async || guard.check().is_ok()).await;
    until(async || gated.send(Method::POST, maps, made(&map)).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_renewed_is_held_whatever_the_clocks_say() {
    let cluster = shared().await;
    // Its holder's API server has a clock that is behind: by this one's, every renewal ran out long ago.
    let lease = json!({"metadata": {"name": "behind"}, "spec": {"holderIdentity": "t1", "leaseDurationSeconds": 60,
        "renewTime": "2020-01-01T00:00:00.000000Z"}});
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
    cluster.send(Method::POST, leases, Some(lease.to_string().into_bytes())).await.unwrap();
    let renewing = async {
        for second in 1.. {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let mut lease = read(&cluster, "behind").await.unwrap();
            lease["spec"]["renewTime"] =
                json!(format!("2020-01-01T00:{:02}:{:02}.000000Z", second / 60 % 60, second % 60));
            cluster.send(Method::PUT, &format!("{leases}/behind"), Some(lease.to_string().into_bytes())).await.unwrap();
        }
    };
    let other = options("behind");
    let refused = tokio::select! {
        () = renewing => None,
        acquired = Lease::acquire(&cluster, "t2", &other) => Some(acquired),
    };
    assert!(matches!(refused, Some(Err(LeaseError::Held { .. }))), "{refused:?}");
    assert_eq!(read(&cluster, "behind").await.unwrap()["spec"]["holderIdentity"], "t1");
}
