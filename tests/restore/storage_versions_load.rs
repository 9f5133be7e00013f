//! Conversions of what is large, and of what is written to all the while.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use serde_json::{Value, json};
use snapback::progress::Silent;
use snapback::restore::{Conversion, RestoreOptions};
use snapback::snapshot::Selection;

use super::site::Site;
use super::storage_versions_type::{GROUP, Type, converge, essence_without_status, open, options, version};
use crate::harness::control_plane::Options;

/// A schema of so many bytes, most of them words for people.
fn large(bytes: usize) -> Value {
    let words = "What this field is for. ".repeat(100);
    let fields: serde_json::Map<String, Value> = (0..bytes / words.len())
        .map(|number| (format!("field{number}"), json!({"type": "string", "description": words})))
        .collect();
    json!({"type": "object", "properties": {"spec": {"type": "object", "properties": fields}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_large_and_what_is_written_to_meanwhile_come_back() {
    let site = Site::start(Options::default()).await;
    a_large_crd(&site).await;
    objects_that_are_written_meanwhile(&site).await;
}

/// Two versions of 900 kB each, and a union with both.
async fn a_large_crd(site: &Site) {
    let schema = large(900_000);
    let own = Type::install(site, "larges", &[version("v1alpha1", true, &schema)]).await;
    own.post("v1alpha1", "default", "a", &json!({"field7": "x"})).await;
    let (snapshot, wanted) = (site.snapshot().await, own.crd().await);
    assert!(wanted.to_string().len() > 800_000);
    own.upgrade(&[version("v1alpha1", false, &open()), version("v1", true, &schema)], &json!({"strategy": "None"}))
        .await;
    own.post("v1", "default", "b", &json!({"field7": "y"})).await;

    let mine = options(&[&own], Some("default"));
    let (plans, _) = converge(site, &snapshot, &mine).await;
    assert_eq!(plans.len(), 1, "{plans:#?}");
    assert!(own.is_stored_at("v1alpha1"), "{:?}", own.stored());
    assert_eq!(essence_without_status(&own.crd().await), essence_without_status(&wanted));
    let b = site.get(&own.object_url("v1alpha1", "default", "b")).await.unwrap();
    assert_eq!(b["spec"], json!({"field7": "y"}), "outside of what is restored");
}

/// Tenants make, change and delete objects through both versions, before the first step and until after the last one.
async fn objects_that_are_written_meanwhile(site: &Site) {
    let own = Type::install(site, "busies", &[version("v1alpha1", true, &open())]).await;
    let wanted = own.crd().await;
    own.upgrade(&[version("v1alpha1", false, &open()), version("v1", true, &open())], &json!({"strategy": "None"}))
        .await;
    for number in 0..120 {
        own.post("v1", "default", &format!("first-{number}"), &json!({"size": 1})).await;
    }
    let (stop, made, changed) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    let writer = |version: &'static str| {
        let (own, stop, made, changed) = (&own, &stop, &made, &changed);
        async move {
            let list = format!("/apis/{GROUP}/{version}/namespaces/default/busies");
            for number in 0.. {
                let object = own.object(version, &format!("{version}-{number}"), &json!({"size": number}));
                let body = Some(serde_json::to_vec(&object).unwrap());
                // The newer version is refused once it is gone.
                let posted = site.cluster.send(http::Method::POST, &list, body).await.is_ok();
                made.fetch_add(u32::from(posted), Ordering::Relaxed);
                let first = format!("{list}/first-{}", number % 120);
                let patch = Some(format!("{{\"spec\":{{\"size\":{number}}}}}").into_bytes());
                let merge = "application/merge-patch+json";
                let patched = site.cluster.send_as(http::Method::PATCH, &first, merge, patch).await.is_ok();
                changed.fetch_add(u32::from(patched), Ordering::Relaxed);
                if number % 7 == 0 {
                    let _ = site.cluster.send(http::Method::DELETE, &format!("{list}/{version}-{number}"), None).await;
                }
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        }
    };
    let options = RestoreOptions::new(Selection::everything());
    let convert = async {
        let mut conversion = Conversion::new(&site.cluster, wanted.clone(), vec![own.crd().await], &options);
        let result = conversion.run(&Silent).await;
        // Some more behind the last step.
        let before = made.load(Ordering::Relaxed);
        site.until(async || made.load(Ordering::Relaxed) > before + 3).await;
        stop.store(true, Ordering::Relaxed);
        result
    };
    let (rewritten, (), ()) = tokio::join!(convert, writer("v1alpha1"), writer("v1"));
    let rewritten = rewritten.unwrap();
    assert!(rewritten.objects >= 120, "{rewritten:?}");
    assert!(changed.load(Ordering::Relaxed) > 10, "{changed:?}");
    assert!(own.is_stored_at("v1alpha1"), "{:?}", own.stored());
    assert_eq!(own.crd().await["spec"], wanted["spec"]);
    let list = site.get(&format!("/apis/{GROUP}/v1alpha1/busies")).await.unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), own.stored().len());
}
