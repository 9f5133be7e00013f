//! The floor that `scripts/bench` measures a rollback's writes against: the same requests once more, by a client that
//! knows nothing but what to send.
//!
//! In: the writes of an audit log with their bodies, and a cluster in the state that they were sent to. Out: how long
//! they took. Requests to one object go one after the other, as they did; eight objects at once, as snapback does. A body
//! that is bound to an earlier answer (resourceVersion, UID) is bound to this run's answer: that is all it thinks about.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use http::Method;
use kube::Client;
use serde::Serialize;
use serde_json::Value;

use crate::api::{Api, ApiError};
use crate::audited::Write;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Replayed {
    /// Requests that were sent.
    pub requests: usize,
    /// Those that were answered otherwise than the first time.
    pub otherwise: usize,
    /// How long all of them took.
    pub seconds: f64,
}

/// Sends all of them.
///
/// # Errors
/// A request got no answer.
pub async fn replay(client: Client, writes: Vec<Write>) -> Result<Replayed, ApiError> {
    let mut objects: Vec<Vec<Write>> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for write in writes {
        let place = *places.entry(write.path.clone()).or_insert(objects.len());
        if place == objects.len() {
            objects.push(Vec::new());
        }
        if let Some(requests) = objects.get_mut(place) {
            requests.push(write);
        }
    }
    let requests = objects.iter().map(Vec::len).sum();
    let started = Instant::now();
    let otherwise = Api::new(client).each(objects, one_object).await?.into_iter().sum();
    Ok(Replayed { requests, otherwise, seconds: round(started.elapsed()) })
}

fn round(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

/// How many of an object's requests were answered otherwise than the first time.
async fn one_object(api: Api, requests: Vec<Write>) -> Result<usize, ApiError> {
    let mut now = Value::Null;
    let mut otherwise = 0;
    for Write { verb, uri, code, mut body, .. } in requests {
        let method = match verb.as_str() {
            "create" => Method::POST,
            "update" => Method::PUT,
            "patch" => Method::PATCH,
            _ => Method::DELETE,
        };
        if method != Method::POST {
            bind(&mut body, &now);
        }
        let answer = api.ask(method, &uri, Some(&body)).await?;
        otherwise += usize::from(answer.status != code);
        let answered = answer.json();
        if answered.pointer("/metadata/uid").is_some() {
            now = answered;
        }
    }
    Ok(otherwise)
}

/// Puts in what the API server gave the object in this run, where the body names what it gave in the first one.
fn bind(body: &mut Value, now: &Value) {
    for (bound, given) in [
        ("/metadata/resourceVersion", "/metadata/resourceVersion"),
        ("/metadata/uid", "/metadata/uid"),
        ("/preconditions/resourceVersion", "/metadata/resourceVersion"),
        ("/preconditions/uid", "/metadata/uid"),
    ] {
        if let (Some(place), Some(value)) = (body.pointer_mut(bound), now.pointer(given)) {
            *place = value.clone();
        }
    }
}
