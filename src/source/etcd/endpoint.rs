//! Choosing the member to ask, and opening its snapshot stream.
//!
//! A snapshot is one member's own database, and a member may lag: every endpoint is asked for its status first, and the
//! one that has applied most is taken. Members of two clusters are refused: by that rule the busier cluster would win.

use std::path::Path;
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, StatusResponse, TlsOptions};
use futures::future::join_all;

use super::error::{EtcdError, UnreachableMember, reason};
use super::handshake::rejection;
use super::message_reader::MessageReader;
use super::tls::EtcdTls;
use crate::progress::{Progress, ProgressEvent};

/// How long a member may take to accept a connection, and to say its status.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// etcd's own clients ping every 30 s at the soonest (`clientv3` and the server's `MinTime` of 5 s).
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_LIMIT: Duration = Duration::from_secs(20);

/// What a member said of itself before its snapshot began.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) endpoint: String,
    pub(super) member: u64,
    pub(super) cluster: u64,
    pub(super) version: String,
    /// The snapshot holds at least this revision.
    pub(super) revision: i64,
    pub(super) database_bytes: u64,
}

/// Asks every endpoint for its status, takes the best member and opens its stream.
pub(super) async fn open(
    endpoints: &[String],
    tls: Option<&EtcdTls>,
    progress: &dyn Progress,
) -> Result<(Member, MessageReader), EtcdError> {
    if endpoints.is_empty() {
        return Err(EtcdError::NoEndpoint);
    }
    let options = connect_options(tls).await?;
    let answers = join_all(endpoints.iter().map(|endpoint| status(endpoint, &options, tls))).await;
    let mut silent = Vec::new();
    let mut best: Option<(Client, &String, StatusResponse)> = None;
    for (endpoint, answer) in endpoints.iter().zip(answers) {
        match answer {
            Err(reason) => silent.push(UnreachableMember { endpoint: endpoint.clone(), reason }),
            Ok((client, status)) => {
                if let Some((_, first, known)) = &best
                    && cluster_of(known) != cluster_of(&status)
                {
                    let (first, second) = ((*first).clone(), endpoint.clone());
                    let (first_cluster, second_cluster) = (cluster_of(known), cluster_of(&status));
                    return Err(EtcdError::SeveralClusters { first, first_cluster, second, second_cluster });
                }
                if best.as_ref().is_none_or(|(_, _, best)| rank(&status) > rank(best)) {
                    best = Some((client, endpoint, status));
                }
            }
        }
    }
    let Some((mut client, endpoint, status)) = best else {
        return Err(EtcdError::Unreachable { members: silent });
    };
    for UnreachableMember { endpoint, reason } in silent {
        progress.report(ProgressEvent::Note(format!("etcd member `{endpoint}` does not answer: {reason}")));
    }
    for error in status.errors() {
        progress.report(ProgressEvent::Note(format!("etcd member `{endpoint}` reports: {error}")));
    }
    let member = Member {
        endpoint: endpoint.clone(),
        member: status.header().map_or(0, etcd_client::ResponseHeader::member_id),
        cluster: cluster_of(&status),
        version: status.version().to_owned(),
        revision: status.header().map_or(0, etcd_client::ResponseHeader::revision),
        database_bytes: u64::try_from(status.db_size()).unwrap_or_default(),
    };
    let broken = |error| EtcdError::Broken { endpoint: endpoint.clone(), received: 0, reason: reason(&error) };
    let stream = client.snapshot().await.map_err(broken)?;
    let reader = MessageReader::new(endpoint.clone(), stream);
    Ok((member, reader))
}

fn cluster_of(status: &StatusResponse) -> u64 {
    status.header().map_or(0, etcd_client::ResponseHeader::cluster_id)
}

/// Which member is taken: a sound one before one with alarms, a voter before a learner, the one that applied most, and
/// among equals the leader.
fn rank(status: &StatusResponse) -> (bool, bool, u64, bool) {
    let leads = status.header().is_some_and(|header| header.member_id() == status.leader());
    (status.errors().is_empty(), !status.is_learner(), status.raft_applied_index(), leads)
}

async fn status(
    endpoint: &str,
    options: &ConnectOptions,
    tls: Option<&EtcdTls>,
) -> Result<(Client, StatusResponse), String> {
    let ask = async {
        let mut client = Client::connect([endpoint], Some(options.clone())).await.map_err(|error| reason(&error))?;
        let status = client.status().await.map_err(|error| reason(&error))?;
        Ok((client, status))
    };
    let Ok(answer) = tokio::time::timeout(ANSWER_LIMIT, ask).await else {
        return Err(format!("no answer within {} s", ANSWER_LIMIT.as_secs()));
    };
    let (Err(reason), Some(tls)) = (&answer, tls) else { return answer };
    let rejection = tokio::time::timeout(ANSWER_LIMIT, rejection(endpoint, tls)).await;
    Err(rejection.ok().flatten().unwrap_or_else(|| reason.clone()))
}

async fn connect_options(tls: Option<&EtcdTls>) -> Result<ConnectOptions, EtcdError> {
    let options = ConnectOptions::new().with_connect_timeout(ANSWER_LIMIT).with_keep_alive(PING_EVERY, PING_LIMIT);
    let Some(tls) = tls else { return Ok(options) };
    let mut settings = TlsOptions::new().ca_certificate(Certificate::from_pem(read(&tls.ca).await?));
    if let Some((cert, key)) = &tls.identity {
        settings = settings.identity(Identity::from_pem(read(cert).await?, read(key).await?));
    }
    if let Some(name) = &tls.server_name {
        settings = settings.domain_name(name);
    }
    Ok(options.with_tls(settings))
}

async fn read(path: &Path) -> Result<Vec<u8>, EtcdError> {
    tokio::fs::read(path).await.map_err(|source| EtcdError::TlsFile { path: path.to_owned(), source })
}
