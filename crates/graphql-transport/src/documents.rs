//! Documents that passed the gate, kept for the requests that send them again: a client has few of them and sends each often.
//!
//! What the gate decides depends on the text alone, so that the text is the key. Variables are looked at for each request. It
//! knows no schema: whether a document fits one is noted here by the executor that found it out.

use std::{
    collections::HashMap,
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use async_graphql::{ServerError, parser::types::ExecutableDocument};

use crate::{GateLimits, gate};

/// Octets of kept texts. `{a a a` takes about 128 times its text in memory when it is parsed, so that this is 32 MiB at worst; an
/// ordinary document takes about sixteen times its text.
const TEXT_BYTES_MAX: usize = 256 << 10;

/// A note beside a kept document that it fits the schema. The transport puts one into the data of each request; all requests
/// with the same document share it.
#[derive(Clone, Debug, Default)]
pub struct Validated(Arc<AtomicBool>);

impl Validated {
    /// Returns whether the document was found to fit the schema, whatever the values of its variables.
    #[must_use]
    pub fn is_noted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes that the document fits the schema, whatever the values of its variables.
    pub fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A document that passed the gate.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    pub(crate) document: Arc<ExecutableDocument>,
    pub(crate) validated: Validated,
}

/// The kept documents.
#[derive(Debug, Default)]
pub(crate) struct Documents(Mutex<Generations>);

/// Documents in two generations. When the young one is full it becomes the old one, and what nobody asked for since is dropped.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Arc<str>, Admitted>,
    young_bytes: usize,
    old: HashMap<Arc<str>, Admitted>,
}

impl Documents {
    /// Returns what a text means, if the gate lets it pass.
    ///
    /// # Errors
    /// Those of the gate. Nothing is kept of a text that is refused.
    pub(crate) fn admit(&self, text: &str, limits: &GateLimits) -> Result<Admitted, ServerError> {
        if let Some(admitted) = self.generations(|kept| kept.get(text)) {
            return Ok(admitted);
        }
        let admitted = Admitted {
            document: Arc::new(gate::admit(text, limits)?),
            validated: Validated::default(),
        };
        self.generations(|kept| kept.put(text.into(), admitted.clone()));
        Ok(admitted)
    }

    fn generations<T>(&self, work: impl FnOnce(&mut Generations) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Generations {
    fn get(&mut self, text: &str) -> Option<Admitted> {
        if let Some(admitted) = self.young.get(text) {
            return Some(admitted.clone());
        }
        let (text, admitted) = self.old.remove_entry(text)?;
        self.put(text, admitted.clone());
        Some(admitted)
    }

    fn put(&mut self, text: Arc<str>, admitted: Admitted) {
        const GENERATION_BYTES_MAX: usize = TEXT_BYTES_MAX / 2;
        let bytes = text.len();
        if bytes > GENERATION_BYTES_MAX {
            return;
        }
        if self.young_bytes + bytes > GENERATION_BYTES_MAX {
            self.old = mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        if self.young.insert(text, admitted).is_none() {
            self.young_bytes += bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(documents: &Documents, text: &str) -> Admitted {
        documents.admit(text, &GateLimits::default()).expect(text)
    }

    fn kept_bytes(documents: &Documents) -> usize {
        documents.generations(|kept| {
            assert_eq!(
                kept.young_bytes,
                kept.young.keys().map(|text| text.len()).sum::<usize>()
            );
            let texts = kept.young.keys().chain(kept.old.keys());
            texts.map(|text| text.len()).sum()
        })
    }

    #[test]
    fn a_text_that_comes_again_is_the_same_document() {
        let documents = Documents::default();
        let first = admit(&documents, "{a}");
        first.validated.note();
        let second = admit(&documents, "{a}");
        assert!(Arc::ptr_eq(&first.document, &second.document));
        assert!(second.validated.is_noted());
        assert!(!admit(&documents, "{a }").validated.is_noted());
    }

    #[test]
    fn what_is_refused_is_refused_each_time_and_not_kept() {
        let documents = Documents::default();
        for _ in 0..2 {
            documents
                .admit("{a", &GateLimits::default())
                .expect_err("no GraphQL");
        }
        assert_eq!(kept_bytes(&documents), 0);
    }

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        let documents = Documents::default();
        let used = admit(&documents, "{used}");
        for number in 0..40 {
            let text = format!("{{f{number}}} # {}", "x".repeat(20_000));
            admit(&documents, &text);
            admit(&documents, &text);
            assert!(kept_bytes(&documents) <= TEXT_BYTES_MAX);
            let again = admit(&documents, "{used}");
            assert!(Arc::ptr_eq(&used.document, &again.document), "{number}");
        }
        let long = format!("{{a}} # {}", "x".repeat(TEXT_BYTES_MAX));
        admit(&documents, &long);
        assert!(kept_bytes(&documents) <= TEXT_BYTES_MAX);
    }
}
