//! A connection that lets whatever is ready to be answered on it be answered first, so that many answers leave in one
//! write.
//!
//! tokio runs a task that was just woken before all others, for the sake of what is still in the processor's cache.
//! For a connection that means a system call for every answer, which costs more than most answers.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

/// A future that goes to the end of the queue once before each time it runs.
pub(super) struct InTurn<F> {
    inner: Pin<Box<F>>,
    queued: bool,
}

impl<F> InTurn<F> {
    pub(super) fn new(inner: F) -> Self {
        Self { inner: Box::pin(inner), queued: false }
    }
}

impl<F: Future> Future for InTurn<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.queued = !self.queued;
        if self.queued {
            // A task that wakes itself is queued behind the others.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.inner.as_mut().poll(context)
    }
}
