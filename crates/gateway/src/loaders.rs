//! Look-ups in batches: all that one level of a query asks for is read at once.
//!
//! Only the caching loader is used: the other one panics when the task that leads a batch is cancelled. Every key gets an
//! answer from its batch, so that a missing one means exactly that; it is then asked for again.

use std::{collections::HashMap, future::Future, hash::Hash, sync::Arc};

use ::dataloader::{BatchFn, cached};
use sipgraph_core::{
    App, ApplicationId, ChatId, DomainId, EndpointId, Error, ExchangeId, MessageId, access::Caller,
    application::Application, binding::Binding, chat::Chat, delivery::Trace, domain::Domain,
    endpoint::Endpoint, keyring::Secret, message::Message, page::PAGE_MAX,
};

/// What a batch knows of one key.
pub(crate) type Answer<T> = Result<Option<T>, Error>;

/// A loader of `V` by `K`.
pub(crate) type Loader<K, V> = cached::Loader<K, Answer<V>, Batch>;

/// How often a key is asked for whose batch was cancelled.
const TRIES: usize = 3;

/// Reads one batch as one caller.
pub(crate) struct Batch {
    app: Arc<App>,
    caller: Caller,
}

/// Returns an empty loader.
///
/// A page has at most [`PAGE_MAX`] rows, and all of their look-ups are one batch. The window of 32 turns of the runtime is
/// what so many rows need to queue: a task may take only 128 locks a turn.
pub(crate) fn loader<K, V>(app: &Arc<App>, caller: &Caller) -> Loader<K, V>
where
    K: Eq + Hash + Clone + std::fmt::Debug,
    V: Clone,
    Batch: BatchFn<K, Answer<V>>,
{
    cached::Loader::new(Batch {
        app: Arc::clone(app),
        caller: caller.clone(),
    })
    .with_max_batch_size(usize::try_from(PAGE_MAX).unwrap_or(usize::MAX))
    .with_yield_count(32)
}

/// Loads a value, with the others that are asked for meanwhile. Boxed, because each field of an object is resolved in a future as
/// large as that of its largest.
pub(crate) async fn get<K, V>(loader: &Loader<K, V>, key: K) -> Answer<V>
where
    K: Eq + Hash + Copy + std::fmt::Debug,
    V: Clone,
    Batch: BatchFn<K, Answer<V>>,
{
    for _ in 0..TRIES {
        if let Ok(answer) = Box::pin(loader.try_load(key)).await {
            return answer;
        }
    }
    Err(Error::internal(format!("no batch answered for {key:?}")))
}

/// Loads the values that many rows are going to ask for one by one, with one look-up. A key without an answer is loaded by its row.
pub(crate) async fn ahead<K, V>(loader: &Loader<K, V>, keys: impl Iterator<Item = K>)
where
    K: Eq + Hash + Copy + std::fmt::Debug,
    V: Clone,
    Batch: BatchFn<K, Answer<V>>,
{
    let keys: Vec<K> = keys.collect();
    // For no keys the loader would wait for more all the same.
    if !keys.is_empty() {
        drop(Box::pin(loader.try_load_many(keys)).await);
    }
}

/// Gives each key its row, or nothing, or the error of the batch.
async fn answers<K: Eq + Hash + Copy, V>(
    keys: &[K],
    read: impl Future<Output = Result<Vec<(K, V)>, Error>>,
) -> HashMap<K, Answer<V>> {
    match read.await {
        Ok(rows) => {
            let mut answers: HashMap<_, _> = keys.iter().map(|key| (*key, Ok(None))).collect();
            answers.extend(rows.into_iter().map(|(key, row)| (key, Ok(Some(row)))));
            answers
        }
        Err(error) => keys.iter().map(|key| (*key, Err(error.clone()))).collect(),
    }
}

impl BatchFn<EndpointId, Answer<Arc<Endpoint>>> for Batch {
    async fn load(&mut self, keys: &[EndpointId]) -> HashMap<EndpointId, Answer<Arc<Endpoint>>> {
        let read = async {
            let rows = self
                .app
                .endpoints_by_ids(&self.caller, keys.to_vec())
                .await?;
            Ok(rows
                .into_iter()
                .map(|row| (row.id, Arc::new(row)))
                .collect())
        };
        answers(keys, read).await
    }
}

impl BatchFn<DomainId, Answer<Domain>> for Batch {
    async fn load(&mut self, keys: &[DomainId]) -> HashMap<DomainId, Answer<Domain>> {
        let read = async {
            let rows = self.app.domains_by_ids(&self.caller, keys.to_vec()).await?;
            Ok(rows.into_iter().map(|row| (row.id, row)).collect())
        };
        answers(keys, read).await
    }
}

impl BatchFn<ApplicationId, Answer<Application>> for Batch {
    async fn load(
        &mut self,
        keys: &[ApplicationId],
    ) -> HashMap<ApplicationId, Answer<Application>> {
        let read = async {
            let rows = self
                .app
                .applications_by_ids(&self.caller, keys.to_vec())
                .await?;
            Ok(rows.into_iter().map(|row| (row.id, row)).collect())
        };
        answers(keys, read).await
    }
}

impl BatchFn<MessageId, Answer<Arc<Message>>> for Batch {
    async fn load(&mut self, keys: &[MessageId]) -> HashMap<MessageId, Answer<Arc<Message>>> {
        let read = async {
            let rows = self
                .app
                .messages_by_ids(&self.caller, keys.to_vec())
                .await?;
            Ok(rows
                .into_iter()
                .map(|row| (row.id, Arc::new(row)))
                .collect())
        };
        answers(keys, read).await
    }
}

impl BatchFn<ChatId, Answer<Arc<Chat>>> for Batch {
    async fn load(&mut self, keys: &[ChatId]) -> HashMap<ChatId, Answer<Arc<Chat>>> {
        let read = async {
            let rows = self.app.chats_by_ids(&self.caller, keys.to_vec()).await?;
            Ok(rows
                .into_iter()
                .map(|row| (row.id, Arc::new(row)))
                .collect())
        };
        answers(keys, read).await
    }
}

/// The contacts of an endpoint, oldest first.
impl BatchFn<EndpointId, Answer<Vec<Binding>>> for Batch {
    async fn load(&mut self, keys: &[EndpointId]) -> HashMap<EndpointId, Answer<Vec<Binding>>> {
        let read = async {
            let rows = self
                .app
                .contacts_by_endpoints(&self.caller, keys.to_vec())
                .await?;
            let mut contacts: HashMap<EndpointId, Vec<Binding>> = HashMap::new();
            for row in rows {
                contacts.entry(row.endpoint).or_default().push(row);
            }
            Ok(contacts.into_iter().collect())
        };
        answers(keys, read).await
    }
}

/// The unread messages of an endpoint.
impl BatchFn<EndpointId, Answer<i64>> for Batch {
    async fn load(&mut self, keys: &[EndpointId]) -> HashMap<EndpointId, Answer<i64>> {
        let read = self.app.unread_by_endpoints(&self.caller, keys.to_vec());
        answers(keys, read).await
    }
}

/// The token for VoIP clients of an endpoint.
impl BatchFn<EndpointId, Answer<Secret>> for Batch {
    async fn load(&mut self, keys: &[EndpointId]) -> HashMap<EndpointId, Answer<Secret>> {
        answers(keys, self.app.voip_tokens(&self.caller, keys.to_vec())).await
    }
}

/// The trace of a message's delivery.
impl BatchFn<ExchangeId, Answer<Trace>> for Batch {
    async fn load(&mut self, keys: &[ExchangeId]) -> HashMap<ExchangeId, Answer<Trace>> {
        let read = async {
            let traces = self.app.traces(&self.caller, keys.to_vec()).await?;
            Ok(traces.into_iter().collect())
        };
        answers(keys, read).await
    }
}
