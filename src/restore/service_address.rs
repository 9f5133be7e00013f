//! Addresses that only one Service can have.
//!
//! In: a Service that is to be made, and those that there are. Out: who has one of its addresses. A dry run does not
//! look at that (facts/apiserver-tried.md), and deleting a Service to make it anew at an address that another one has
//! would leave none.

use serde_json::Value;

use crate::cluster::Cluster;
use crate::snapshot::ObjectPath;

use super::error::RestoreError;
use super::object;
use super::refuser::Refuser;

/// Where they are listed.
const SERVICES: &str = "/api/v1/services";

/// A Service.
pub(super) fn is_service(path: &ObjectPath) -> bool {
    path.group.is_empty() && path.resource == "services"
}

/// Every Service that there is.
pub(super) async fn services(cluster: &Cluster) -> Result<Vec<Value>, RestoreError> {
    let list = object::parse(SERVICES, &cluster.get(SERVICES).await?)?;
    Ok(list.get("items").and_then(Value::as_array).cloned().unwrap_or_default())
}

/// Who of these has an address of the wanted one, with the holder's namespace and name.
pub(super) fn taken<'a>(wanted: &Value, services: &'a [Value]) -> Option<(Refuser, &'a Value)> {
    let own = addresses(wanted);
    services.iter().filter(|other| who(other) != who(wanted)).find_map(|other| {
        let theirs = addresses(other);
        let address = own.iter().find(|address| theirs.contains(address))?.clone();
        Some((Refuser::Address { address, holder: who(other) }, other))
    })
}

fn who(service: &Value) -> String {
    format!("{}/{}", object::namespace(service).unwrap_or_default(), object::name(service))
}

fn addresses(service: &Value) -> Vec<String> {
    let list = |pointer: &str| service.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    let ports = list("/spec/ports").filter_map(|port| port.get("nodePort"));
    let ports = ports.chain(service.pointer("/spec/healthCheckNodePort"));
    list("/spec/clusterIPs")
        .filter_map(Value::as_str)
        .filter(|address| !matches!(*address, "" | "None"))
        .map(str::to_owned)
        .chain(ports.filter(|port| port.as_u64().is_some_and(|port| port > 0)).map(|port| format!("node port {port}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::taken;

    fn service(name: &str, address: &str, port: u16) -> Value {
        json!({"metadata": {"namespace": "a", "name": name},
            "spec": {"clusterIPs": [address], "ports": [{"port": 80, "nodePort": port}]}})
    }

    #[test]
    fn an_address_has_one_holder_and_headless_services_have_none() {
        let wanted = service("web", "10.0.0.7", 30080);
        let held = |others: &[Value]| taken(&wanted, others).map(|(refuser, _)| refuser.to_string());
        assert_eq!(held(&[wanted.clone(), service("other", "10.0.0.8", 30081)]), None);
        assert_eq!(held(&[service("other", "10.0.0.7", 0)]).unwrap(), "Service a/other has its 10.0.0.7");
        assert_eq!(held(&[service("other", "None", 30080)]).unwrap(), "Service a/other has its node port 30080");
        assert!(taken(&service("x", "None", 0), &[service("y", "None", 0)]).is_none());
    }
}
