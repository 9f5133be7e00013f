//! Webhooks and APIServices whose backend is dead are found, set aside in place, and put back.

use http::Method;
use serde_json::{Value, json};
use snapback::journal::{Held, Prior};
use snapback::restore::quiesce::{Death, Left, Quiesce, Started, dead_backends};
use snapback::store::ContentHash;

use crate::restore::site::{Site, essence};

const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const API_SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const SERVICES: &str = "/api/v1/namespaces/hooks/services";
const MAPS: &str = "/api/v1/namespaces/hooks/configmaps";

impl Site {
    /// What is dead, as a plan would say it.
    async fn dead(&self, holding: &[Held]) -> Vec<String> {
        let found = dead_backends(&self.cluster, holding).await.unwrap();
        found.iter().flat_map(|dead| dead.calls.iter().map(move |call| format!("{}: {call}", dead.item))).collect()
    }

    async fn service(&self, name: &str, port: u16) {
        let spec = json!({"selector": {"app": name}, "ports": [{"port": port}]});
        self.post(SERVICES, json!({"metadata": {"name": name}, "spec": spec})).await;
    }

    async fn endpoint(&self, service: &str, ready: bool) {
        let slice = json!({"metadata": {"name": service, "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4", "endpoints": [{"addresses": ["10.1.2.3"], "conditions": {"ready": ready}}]});
        let slices = "/apis/discovery.k8s.io/v1/namespaces/hooks/endpointslices";
        drop(self.cluster.send(Method::DELETE, &format!("{slices}/{service}"), None).await);
        self.post(slices, slice).await;
    }

    async fn map_can_be_made(&self) -> bool {
        let body = json!({"metadata": {"generateName": "probe-"}});
        self.cluster.send(Method::POST, MAPS, Some(body.to_string().into_bytes())).await.is_ok()
    }

    async fn set_aside(&self, item: &Held, was: &Prior, url: &str) -> Value {
        let before = self.get(url).await.unwrap();
        assert!(self.stop(item, was).await.unwrap().present);
        self.stop(item, was).await.unwrap();
        let held = self.get(url).await.unwrap();
        assert_eq!(held["metadata"]["annotations"]["snapback.io/held-by"], "t1");
        assert_eq!(held["metadata"]["uid"], before["metadata"]["uid"], "set aside in place");
        before
    }

    async fn put_back(&self, item: &Held, was: &Prior, before: &Value, url: &str) {
        let started = self.start_again(item, was, Some(before)).await;
        assert_eq!(started, Started::Exact);
        let after = self.get(url).await.unwrap();
        assert_eq!(essence(&after), essence(before), "only generation and resourceVersion differ");
        assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    }

    pub(super) async fn a_webhook_with_a_dead_backend_is_set_aside_and_put_back(&self) {
        assert_eq!(self.dead(&[]).await, Vec::<String>::new());
        let hooks = [webhook("strict", "guard", "Fail"), webhook("lax", "nowhere", "Ignore")];
        self.post(WEBHOOKS, json!({"metadata": {"name": "checks"}, "webhooks": hooks})).await;
        self.post(MUTATING, json!({"metadata": {"name": "lax"}, "webhooks": [webhook("lax", "nowhere", "Ignore")]}))
            .await;
        self.until(async || !self.map_can_be_made().await).await;

        let said = |reason: &str| {
            vec![format!(
                "validatingwebhookconfiguration checks: strict.example.org calls Service hooks/guard: {reason}"
            )]
        };
        assert_eq!(self.dead(&[]).await, said("there is no such Service"));
        self.service("guard", 8443).await;
        assert_eq!(self.dead(&[]).await, said("the Service has no port 443"));
        self.delete(&format!("{SERVICES}/guard")).await;
        self.service("guard", 443).await;
        assert_eq!(self.dead(&[]).await, said("no endpoint of it is ready"));
        self.endpoint("guard", false).await;
        assert_eq!(self.dead(&[]).await, said("no endpoint of it is ready"));
        self.endpoint("guard", true).await;
        assert_eq!(self.dead(&[]).await, Vec::<String>::new());

        // It dies with what is going to be stopped.
        let labels = json!({"app": "guard", "more": "1"});
        let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "b"}]}});
        let spec = json!({"selector": {"matchLabels": {"app": "guard"}}, "template": template});
        self.post("/apis/apps/v1/namespaces/hooks/deployments", json!({"metadata": {"name": "guard"}, "spec": spec}))
            .await;
        let held = Held::Deployment { namespace: "hooks".to_owned(), name: "guard".to_owned() };
        assert_eq!(
            self.dead(std::slice::from_ref(&held)).await,
            said("`deployment hooks/guard` answers for it and will be stopped")
        );
        self.endpoint("guard", false).await;

        let item = Held::ValidatingWebhook { name: "checks".to_owned() };
        let url = format!("{WEBHOOKS}/checks");
        // What the journal says it was is the object in the snapshot that was taken before.
        let path = item.object_path().to_tree_path();
        let recorded = self.snapshot().await.read(&path).await.unwrap().unwrap();
        let was = self.prior(&item).await;
        assert_eq!(was, Prior::Content(ContentHash::of(&recorded)));
        // One that no snapshot has could not be put back.
        assert!(!self.stop(&item, &Prior::Absent).await.unwrap().present);
        assert!(!self.map_can_be_made().await);

        let before = self.set_aside(&item, &was, &url).await;
        self.until(async || self.map_can_be_made().await).await;
        assert_eq!(self.dead(&[]).await, Vec::<String>::new());
        self.put_back(&item, &was, &before, &url).await;
        self.until(async || !self.map_can_be_made().await).await;

        // Its owner writes it anew meanwhile: then it is the owner's.
        self.stop(&item, &was).await.unwrap();
        let rewritten = json!({"webhooks": [webhook("new", "guard", "Ignore")]});
        self.patch(&url, rewritten).await;
        let left = self.start_again(&item, &was, Some(&before)).await;
        assert_eq!(left, Started::Left(Left::StartedMeanwhile));
        let after = self.get(&url).await.unwrap();
        assert_eq!(after["webhooks"][0]["name"], "new.example.org");
        assert_eq!(after["metadata"].get("annotations"), None);
        self.delete(&url).await;
        self.delete(&format!("{MUTATING}/lax")).await;
    }

    pub(super) async fn an_api_service_with_a_dead_backend_keeps_no_namespace_while_it_is_set_aside(&self) {
        let spec = json!({"group": "dead.example.org", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 10,
            "service": {"namespace": "hooks", "name": "gone", "port": 443}, "caBundle": "Cg=="});
        let name = "v1.dead.example.org";
        self.post(API_SERVICES, json!({"metadata": {"name": name, "labels": {"mine": "1"}}, "spec": spec})).await;
        let url = format!("{API_SERVICES}/{name}");
        let item = Held::ApiService { name: name.to_owned() };
        let dead = dead_backends(&self.cluster, &[]).await.unwrap();
        assert_eq!(dead.len(), 1, "{dead:?}");
        assert_eq!((&dead[0].item, &dead[0].calls[0].reason), (&item, &Death::NoService));

        self.namespace("ends").await;
        self.delete("/api/v1/namespaces/ends").await;
        let blocked = |namespace: &Value| {
            namespace["status"]["conditions"].as_array().is_some_and(|conditions| {
                conditions.iter().any(|condition| {
                    condition["type"] == "NamespaceDeletionDiscoveryFailure" && condition["status"] == "True"
                })
            })
        };
        self.until(async || self.get("/api/v1/namespaces/ends").await.is_some_and(|now| blocked(&now))).await;

        let before = self.get(&url).await.unwrap();
        // It takes no more rights than it says.
        let account = self.holder_of("remover", std::slice::from_ref(&item)).await;
        let modest = Quiesce { cluster: &account, ..self.hand("t1") };
        assert_eq!(dead_backends(&account, &[]).await.unwrap(), dead);
        let was = self.prior(&item).await;
        assert!(modest.stop(&item, &was).await.unwrap().present);
        assert!(!modest.stop(&item, &was).await.unwrap().present, "away already");
        self.until(async || self.get("/api/v1/namespaces/ends").await.is_none()).await;
        assert_eq!(self.dead(&[]).await, Vec::<String>::new());

        assert_eq!(modest.start(&item, &was, None).await.unwrap(), Started::Absent);
        for _ in 0..2 {
            let started = modest.start(&item, &was, Some(&before)).await.unwrap();
            assert_eq!(started, Started::Exact);
        }
        let (mut after, mut wanted) = (essence(&self.get(&url).await.unwrap()), essence(&before));
        for side in [&mut after, &mut wanted] {
            // The API server says there what it finds.
            side.as_object_mut().unwrap().remove("status");
            side["metadata"]["managedFields"].as_array_mut().unwrap().retain(|entry| entry["subresource"] != "status");
        }
        assert_eq!(after, wanted);

        // Its owner makes it anew meanwhile: then it is the owner's.
        self.stop(&item, &was).await.unwrap();
        let mut other = before.clone();
        other["metadata"] = json!({"name": name});
        other["spec"]["groupPriorityMinimum"] = json!(2000);
        self.post(API_SERVICES, other).await;
        let left = self.start_again(&item, &was, Some(&before)).await;
        assert_eq!(left, Started::Left(Left::NotHeld));
        self.delete(&url).await;
    }
}

fn webhook(name: &str, service: &str, policy: &str) -> Value {
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]});
    json!({"name": format!("{name}.example.org"), "failurePolicy": policy, "sideEffects": "None",
        "admissionReviewVersions": ["v1"], "rules": [rule], "timeoutSeconds": 1,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "hooks"}},
        "clientConfig": {"service": {"namespace": "hooks", "name": service}, "caBundle": "Cg=="}})
}
