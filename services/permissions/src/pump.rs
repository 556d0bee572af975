//! Streams that a task of their own drives. A client that stops reading stops its stream wherever that is, and a
//! query under way there would keep its connection from everybody else; here it only stops between two items.

use crate::error::Error;
use futures_util::{Stream, StreamExt};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;

/// Items that wait for a client.
const WAITING: usize = 8;

/// Drives a stream until it ends or nobody wants it any more.
pub(crate) fn pump<T: Send + 'static>(
    items: impl Stream<Item = T> + Send + 'static,
) -> impl Stream<Item = T> + Send {
    let (sender, receiver) = mpsc::channel(WAITING);
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut items = std::pin::pin!(items);
        while let Some(item) = items.next().await {
            if sender.send(item).await.is_err() {
                return;
            }
        }
    });
    ReceiverStream::new(receiver).map(move |item| {
        // The task ends with the stream that holds it.
        let _held = &task;
        item
    })
}

/// Does one thing in a task of its own, for a stream that makes its items when it is asked.
pub(crate) async fn apart<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let mut task = JoinSet::new();
    task.spawn(work);
    match task.join_next().await {
        Some(Ok(result)) => result,
        Some(Err(_)) | None => Err(Error::Stopping),
    }
}
