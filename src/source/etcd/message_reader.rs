//! Turns the messages of a maintenance stream into bytes that can be read.
//!
//! In: the gRPC stream. Out: its blobs, one after another; an error where it breaks off, stands still, or ends while the
//! server still announces bytes. At most one message is held.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use etcd_client::SnapshotStreaming;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::io::{AsyncRead, ReadBuf};

use super::error::{EtcdError, reason};

/// How long a member may send nothing. It reads its own disk, so this is generous; HTTP/2 pings find a dead peer sooner.
const STALL_LIMIT: Duration = Duration::from_secs(60);

/// Reads the blobs of a stream.
pub(super) struct MessageReader {
    messages: BoxStream<'static, Result<Bytes, EtcdError>>,
    rest: Bytes,
    fault: Option<EtcdError>,
}

impl MessageReader {
    pub(super) fn new(endpoint: String, stream: SnapshotStreaming) -> Self {
        let state = State { endpoint, stream, received: 0, remaining: 0 };
        let messages = futures::stream::try_unfold(state, next_blob).boxed();
        Self { messages, rest: Bytes::new(), fault: None }
    }

    /// Why the stream broke off, when it did.
    pub(super) fn take_fault(&mut self) -> Option<EtcdError> {
        self.fault.take()
    }
}

struct State {
    endpoint: String,
    stream: SnapshotStreaming,
    received: u64,
    remaining: u64,
}

async fn next_blob(mut state: State) -> Result<Option<(Bytes, State)>, EtcdError> {
    let message = match tokio::time::timeout(STALL_LIMIT, state.stream.message()).await {
        Err(_) => {
            return Err(EtcdError::Stalled { endpoint: state.endpoint, received: state.received, limit: STALL_LIMIT });
        }
        Ok(Err(error)) => {
            let reason = reason(&error);
            return Err(EtcdError::Broken { endpoint: state.endpoint, received: state.received, reason });
        }
        Ok(Ok(message)) => message,
    };
    let Some(message) = message else {
        if state.remaining == 0 {
            return Ok(None);
        }
        let reason = format!("the server ended it with {} bytes to go", state.remaining);
        return Err(EtcdError::Broken { endpoint: state.endpoint, received: state.received, reason });
    };
    let blob = Bytes::copy_from_slice(message.blob());
    state.received += blob.len() as u64;
    state.remaining = message.remaining_bytes();
    Ok(Some((blob, state)))
}

impl AsyncRead for MessageReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.rest.is_empty() {
            match ready!(this.messages.poll_next_unpin(context)) {
                None => return Poll::Ready(Ok(())),
                Some(Ok(blob)) => this.rest = blob,
                Some(Err(fault)) => {
                    let error = io::Error::new(io::ErrorKind::UnexpectedEof, fault.to_string());
                    this.fault = Some(fault);
                    return Poll::Ready(Err(error));
                }
            }
        }
        let count = this.rest.len().min(buffer.remaining());
        buffer.put_slice(this.rest.get(..count).unwrap_or_default());
        this.rest.advance(count);
        Poll::Ready(Ok(()))
    }
}
