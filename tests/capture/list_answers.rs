//! What the API server answers to the ways of asking for a list, as `cluster::ListReader` counts on it.
//!
//! Each line is one of facts/apiserver-tried.md, "Lists at one revision".

use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use snapback::cluster::ListReader;

use super::taking::{connect, create};
use crate::harness::control_plane::ControlPlane;

/// There are some dozens of them in every cluster.
pub(super) const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";

/// Asks once; snapback's own connection repeats some answers.
pub(super) async fn answer(client: &kube::Client, query: &str) -> (StatusCode, Value) {
    let request = Request::get(format!("{ROLES}?{query}")).body(kube::client::Body::empty()).unwrap();
    let answer = client.send(request).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect_bytes().await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

/// The query for what follows a page.
pub(super) fn goes_on(page: &Value) -> String {
    let token = page["metadata"]["continue"].as_str().unwrap();
    format!("limit=1&continue={}", token.replace('=', "%3D"))
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_an_exact_list_are_asked_for_by_their_token_alone() {
    let control_plane = ControlPlane::shared();
    let client = control_plane.client().await;
    let (status, first) = answer(&client, "limit=3").await;
    assert_eq!(status, 200);
    let revision = first["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let on = goes_on(&first);

    let (status, page) =
        answer(&client, &format!("limit=3&resourceVersion={revision}&resourceVersionMatch=Exact")).await;
    assert_eq!((status.as_u16(), &page["metadata"]["resourceVersion"]), (200, &Value::from(revision.as_str())));
    let (status, page) = answer(&client, &on).await;
    assert_eq!((status.as_u16(), &page["metadata"]["resourceVersion"]), (200, &Value::from(revision.as_str())));

    assert_eq!(answer(&client, &format!("{on}&resourceVersionMatch=Exact")).await.0, 422);
    assert_eq!(answer(&client, &format!("{on}&resourceVersion={revision}")).await.0, 400);
    assert_eq!(answer(&client, "limit=3&resourceVersion=0&resourceVersionMatch=Exact").await.0, 422);
    let far = revision.parse::<u64>().unwrap() + 1_000_000;
    let (status, far) = answer(&client, &format!("limit=3&resourceVersion={far}&resourceVersionMatch=Exact")).await;
    assert_eq!(status, 504, "{far}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_is_yet_to_come_is_waited_for() {
    let control_plane = ControlPlane::shared();
    let cluster = connect(control_plane).await;
    create(&cluster, "/api/v1/namespaces", &json!({"metadata": {"name": "yet-to-come"}})).await;
    let mut newest = ListReader::latest(&cluster, ROLES.to_owned());
    newest.next().await.unwrap();
    // As another API server may be behind the one that told it.
    let coming = newest.revision().unwrap() + 300;
    let reading = cluster.clone();
    let list = tokio::spawn(async move {
        let mut reader = ListReader::exact(&reading, ROLES.to_owned(), coming);
        let mut roles = 0;
        while let Some(page) = reader.next().await.unwrap() {
            roles += page.len();
        }
        (reader.revision(), roles)
    });
    let refused = format!("resourceVersion={coming}&");
    while !control_plane.audit_log().iter().any(|event| event.uri.contains(&refused) && event.code == 504) {
        assert!(!list.is_finished(), "the revision was there already");
    }
    for turn in 0..20 {
        let writes = (0..16).map(|n| {
            let object = json!({"metadata": {"name": format!("a-{turn}-{n}")}}).to_string().into_bytes();
            cluster.send(Method::POST, "/api/v1/namespaces/yet-to-come/configmaps", Some(object))
        });
        futures::future::try_join_all(writes).await.unwrap();
    }
    let (revision, roles) = list.await.unwrap();
    assert_eq!(revision, Some(coming));
    assert!(roles > 30, "{roles}");
}
