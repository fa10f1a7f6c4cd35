//! Look-ups that are asked for while one of their kind is under way wait for it and are then read together, by one statement.
//!
//! Nothing is kept: each look-up is answered by a read that began after it was asked for. Alone it is read at once; of many at
//! a time most of the work of asking the database, on both sides, is done once for all of them.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sipgraph_core::Error;
use tokio::sync::oneshot;

use crate::error::overloaded;

/// The most look-ups of one statement, so that none waits for long rows of others.
const GROUP_MAX: usize = 64;
/// Look-ups that wait; beyond it they are refused at once.
const WAITING_MAX: usize = 1024;
/// After this time the next look-up no longer waits for the one under way, whose connection may be dead.
const SLOW: Duration = Duration::from_millis(100);

/// Look-ups of one kind.
pub(crate) struct Gather<K, V>(Arc<Mutex<Queue<K, V>>>);

struct Queue<K, V> {
    waiting: Vec<(K, oneshot::Sender<Result<V, Error>>)>,
    /// When the read under way began, if there is one.
    begun: Option<Instant>,
    /// Which reader goes on; one that was overtaken ends.
    reader: u64,
}

impl<K, V> Default for Gather<K, V> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Queue {
            waiting: Vec::new(),
            begun: None,
            reader: 0,
        })))
    }
}

impl<K: Send + 'static, V: Send + 'static> Gather<K, V> {
    /// Looks up `key`. `read` gives a value for each of its keys, in their order.
    pub(crate) async fn get<F, Reading>(&self, key: K, read: F) -> Result<V, Error>
    where
        F: Fn(Vec<K>) -> Reading + Send + 'static,
        Reading: Future<Output = Result<Vec<V>, Error>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        if let Some(reader) = self.enter(key, reply)? {
            // A task of its own: a caller that goes away must not take the others' answers along.
            tokio::spawn(serve(Arc::clone(&self.0), reader, read));
        }
        answer
            .await
            .unwrap_or_else(|_| Err(Error::internal("a look-up was not answered")))
    }

    /// Puts a look-up among those that wait; gives the number of a new reader when one is needed.
    fn enter(
        &self,
        key: K,
        reply: oneshot::Sender<Result<V, Error>>,
    ) -> Result<Option<u64>, Error> {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.waiting.len() >= WAITING_MAX {
            return Err(overloaded());
        }
        queue.waiting.push((key, reply));
        if queue.begun.is_some_and(|begun| begun.elapsed() < SLOW) {
            return Ok(None);
        }
        queue.begun = Some(Instant::now());
        queue.reader += 1;
        Ok(Some(queue.reader))
    }
}

/// Reads groups until nobody waits.
async fn serve<K, V, F, Reading>(queue: Arc<Mutex<Queue<K, V>>>, reader: u64, read: F)
where
    F: Fn(Vec<K>) -> Reading,
    Reading: Future<Output = Result<Vec<V>, Error>>,
{
    loop {
        // Those who are ready to ask come along.
        tokio::task::yield_now().await;
        let group = {
            let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
            if queue.reader != reader {
                return;
            }
            let count = queue.waiting.len().min(GROUP_MAX);
            queue.begun = (count > 0).then(Instant::now);
            queue.waiting.drain(..count).collect::<Vec<_>>()
        };
        if group.is_empty() {
            return;
        }
        let (keys, replies): (Vec<K>, Vec<_>) = group.into_iter().unzip();
        match read(keys).await {
            // A caller that has gone away needs no answer.
            Ok(values) => replies.into_iter().zip(values).for_each(|(reply, value)| {
                let _ = reply.send(Ok(value));
            }),
            Err(error) => replies.into_iter().for_each(|reply| {
                let _ = reply.send(Err(error.clone()));
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use sipgraph_core::ErrorKind;
    use tokio::sync::Semaphore;

    use super::*;

    /// Answers each key with its double, one group for each permit, and notes the groups.
    #[derive(Clone)]
    struct Doubling {
        permits: Arc<Semaphore>,
        groups: Arc<Mutex<Vec<Vec<i32>>>>,
    }

    impl Doubling {
        fn new() -> Self {
            Self {
                permits: Arc::new(Semaphore::new(0)),
                groups: Arc::default(),
            }
        }

        async fn get(&self, gather: &Gather<i32, i32>, key: i32) -> Result<i32, Error> {
            let this = self.clone();
            let read = move |keys: Vec<i32>| {
                let this = this.clone();
                async move {
                    this.groups.lock().unwrap().push(keys.clone());
                    this.permits.acquire().await.unwrap().forget();
                    if keys.contains(&-1) {
                        return Err(Error::new(ErrorKind::Unavailable, "gone"));
                    }
                    Ok(keys.iter().map(|key| key * 2).collect())
                }
            };
            gather.get(key, read).await
        }
    }

    #[tokio::test]
    async fn those_who_ask_meanwhile_are_read_together() {
        let (gather, doubling) = (Gather::default(), Doubling::new());
        let first = tokio::spawn({
            let (gather, doubling) = (Gather(Arc::clone(&gather.0)), doubling.clone());
            async move { doubling.get(&gather, 1).await }
        });
        while doubling.groups.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        // However slow this machine is, the read under way is not.
        gather.0.lock().unwrap().begun = Some(Instant::now() + Duration::from_secs(3600));
        let asked = join_all((2..=100).map(|key| doubling.get(&gather, key)));
        let release = async { doubling.permits.add_permits(3) };
        let (answers, ()) = tokio::join!(asked, release);
        let answers: Result<Vec<_>, _> = answers.into_iter().collect();
        let doubles: Vec<_> = (2..=100).map(|key| key * 2).collect();
        assert_eq!(answers.unwrap(), doubles);
        assert_eq!(first.await.unwrap().unwrap(), 2);
        let sizes: Vec<_> = doubling
            .groups
            .lock()
            .unwrap()
            .iter()
            .map(Vec::len)
            .collect();
        assert_eq!(sizes, [1, GROUP_MAX, 99 - GROUP_MAX]);
    }

    #[tokio::test]
    async fn an_error_is_that_of_its_group_alone() {
        let (gather, doubling) = (Gather::default(), Doubling::new());
        doubling.permits.add_permits(2);
        let error = doubling.get(&gather, -1).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert_eq!(doubling.get(&gather, 4).await.unwrap(), 8);
    }

    #[tokio::test]
    async fn a_read_that_hangs_holds_nobody_up_for_long() {
        let (gather, hanging, doubling) = (Gather::default(), Doubling::new(), Doubling::new());
        doubling.permits.add_permits(1);
        let hung = hanging.get(&gather, 1);
        let overtaking = async {
            while hanging.groups.lock().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
            // The clock of this is the system's: the read began so long ago.
            gather.0.lock().unwrap().begun = Instant::now().checked_sub(SLOW);
            doubling.get(&gather, 2).await
        };
        tokio::select! {
            _ = hung => panic!("nobody released it"),
            answer = overtaking => assert_eq!(answer.unwrap(), 4),
        }
    }
}
