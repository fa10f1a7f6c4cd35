//! Ending in order: no new work, running work to its end.

use std::sync::Arc;

use tokio::sync::watch;

/// The server's way to stop taking work and to wait for what runs. Clones are one handle.
#[derive(Clone, Debug)]
pub struct Drain {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    begun: watch::Sender<bool>,
    /// Operations and sockets that run.
    running: watch::Sender<usize>,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            inner: Arc::new(Inner {
                begun: watch::Sender::new(false),
                running: watch::Sender::new(0),
            }),
        }
    }
}

impl Drain {
    /// Begins to drain: new requests get 503, sockets close with 1012 after their streams had a
    /// last chance to yield. Calling it again changes nothing.
    pub fn begin(&self) {
        self.inner.begun.send_replace(true);
    }

    /// Returns whether the drain has begun.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        *self.inner.begun.borrow()
    }

    /// Waits until the drain begins. A live stream selects on it to yield its last item and end.
    pub async fn begun(&self) {
        // The sender lives in `self`, so that waiting cannot fail.
        let _ = self.inner.begun.subscribe().wait_for(|begun| *begun).await;
    }

    /// Waits until nothing runs any more. Call it after [`Drain::begin`], under a deadline.
    pub async fn finished(&self) {
        let _ = self
            .inner
            .running
            .subscribe()
            .wait_for(|running| *running == 0)
            .await;
    }

    /// Counts an operation or a socket until the guard is dropped.
    pub(crate) fn running(&self) -> Running {
        self.inner.running.send_modify(|running| *running += 1);
        Running(self.clone())
    }
}

/// One operation or socket that a drain waits for.
#[derive(Debug)]
pub(crate) struct Running(Drain);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.inner.running.send_modify(|running| *running -= 1);
    }
}
