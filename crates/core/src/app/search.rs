//! The index of the texts of messages: filled behind the commits, never inside a send.

use super::App;
use crate::search::{Unindexed, Words};
use crate::{AccountId, Error};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Messages that one step indexes: some milliseconds of work between which others have the database.
const STEP: u32 = 200;

/// How far the index is behind.
#[derive(Debug, Default)]
pub(super) struct Lag {
    micros: AtomicU64,
    /// The account that had the last turn, so that a busy one does not keep others out.
    last: Mutex<Option<AccountId>>,
}

impl App {
    /// Indexes some of the texts that are in no index yet; gives whether more are left.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn search_step(&self) -> Result<bool, Error> {
        let lag = &self.search_lag;
        let last = *lag.last.lock().unwrap_or_else(PoisonError::into_inner);
        let after = last.unwrap_or(AccountId([0; 16]));
        let Some(unindexed) = self.store.messages_unindexed(after, STEP).await? else {
            lag.micros.store(0, Ordering::Relaxed);
            return Ok(false);
        };
        let Unindexed {
            account,
            texts,
            oldest,
            up_to,
        } = unindexed;
        *lag.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(account);
        if let Some(oldest) = oldest {
            let micros = u64::try_from(self.now().since(oldest).as_micros()).unwrap_or(u64::MAX);
            lag.micros.store(micros, Ordering::Relaxed);
        }
        let words = texts
            .into_iter()
            .map(|(id, text)| (id, Words::to_index(&text)))
            .collect();
        self.store.messages_index(account, up_to, words).await?;
        Ok(true)
    }

    /// Returns how old the oldest message was that the last step found in no index; zero when all were.
    #[must_use]
    pub fn search_lag(&self) -> Duration {
        Duration::from_micros(self.search_lag.micros.load(Ordering::Relaxed))
    }
}
