//! What is sent to the devices of an endpoint and kept nowhere: that the other side types (RFC 3994), and what its device reports of
//! a message (RFC 5438). It is sent once, and not at all to a device that is not there.

use super::App;
use crate::binding::Binding;
use crate::endpoint::Endpoint;
use crate::message::{Disposition, Variables};
use crate::ports::{Attempt, AttemptResult, AttemptTarget, PortFuture, Technology};
use crate::{Error, Timestamp};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// So many notices wait to be sent to devices; when more do, the oldest is dropped.
const WAITING_MAX: usize = 256;
/// How long a report is of interest, in the Expires of its MESSAGE; it is sent at once or never.
const REPORT_EXPIRES: Duration = Duration::from_secs(120);

/// A notice for the devices of an endpoint.
pub(super) struct Notice {
    /// The From URI: whose device tells it, as those who get it know it.
    pub(super) from: String,
    /// The display name of From.
    pub(super) from_name: Option<String>,
    /// The To URI.
    pub(super) to: String,
    /// Whose devices get it.
    pub(super) recipient: Endpoint,
    /// What it tells.
    pub(super) news: News,
}

/// What a notice tells.
pub(super) enum News {
    /// That its sender types, or has stopped.
    Typing(Typing),
    /// What became of a message at the device that got it.
    Report {
        /// The message as the devices that get the notice know it: the Call-ID that one of them sent it with.
        message_id: String,
        /// When it was sent.
        sent_at: Timestamp,
        disposition: Disposition,
    },
}

/// That somebody types, or has stopped, and for how long that holds.
#[derive(Clone, Copy)]
pub(super) struct Typing {
    pub(super) active: bool,
    pub(super) refresh: Duration,
}

/// The notices of this node that wait to be sent.
#[derive(Default)]
pub(super) struct Notices {
    waiting: Mutex<VecDeque<Notice>>,
    due: event_listener::Event,
}

impl Notices {
    /// Has a notice sent.
    pub(super) fn send(&self, notice: Notice) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() == WAITING_MAX {
            waiting.pop_front();
        }
        waiting.push_back(notice);
        drop(waiting);
        self.due.notify(usize::MAX);
    }

    fn next(&self) -> Option<Notice> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.pop_front()
    }
}

impl App {
    /// Returns a future that ends when a notice may have to be sent. It listens from this call on.
    #[must_use]
    pub fn notice_due(&self) -> event_listener::EventListener {
        self.notices.due.listen()
    }

    /// Hands the next notice that waits to the technology; the futures send it to one device each. `None` when none waits.
    ///
    /// # Errors
    /// Those of the store; the notice is lost.
    pub async fn notice_step(
        &self,
        technology: &Arc<dyn Technology>,
    ) -> Result<Option<Vec<PortFuture<'static, AttemptResult>>>, Error> {
        let Some(notice) = self.notices.next() else {
            return Ok(None);
        };
        let found = self
            .store
            .endpoint_bindings(notice.recipient.account, notice.recipient.id)
            .await?;
        let Some((recipient, bindings)) = found else {
            return Ok(Some(Vec::new()));
        };
        let here = |binding: &Binding| {
            !binding.flow.transport.is_stream() || binding.flow.node == self.node
        };
        Ok(Some(
            bindings
                .into_iter()
                .filter(|binding| here(binding) && recipient.allows(binding.flow.transport))
                .map(|binding| technology.deliver(self.notice_to(&notice, binding)))
                .collect(),
        ))
    }

    fn notice_to(&self, notice: &Notice, binding: Binding) -> Attempt {
        let mint = self.mint();
        let token = || crate::digest::hex(&mint.bytes::<12>());
        let (content_type, body, expires) = notice.news.content();
        Attempt {
            target: AttemptTarget::Contact(Box::new(binding)),
            simulation: None,
            number: 1,
            is_notice: true,
            from: notice.from.clone(),
            from_name: notice.from_name.clone(),
            to: notice.to.clone(),
            body,
            content_type: content_type.to_owned(),
            variables: Variables::new(),
            call_id: token(),
            from_tag: token(),
            cseq: 1,
            branch: format!("z9hG4bK{}", token()),
            expires_s: u32::try_from(expires.as_secs()).unwrap_or(u32::MAX),
        }
    }
}

impl News {
    /// The media type and body of its MESSAGE, and how long that is of interest.
    fn content(&self) -> (&'static str, String, Duration) {
        match self {
            News::Typing(Typing { active, refresh }) => {
                let state = if *active { "active" } else { "idle" };
                let body = format!(
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<isComposing xmlns=\"urn:ietf:params:xml:ns:im-iscomposing\">\
                     <state>{state}</state><contenttype>text/plain</contenttype><refresh>{}</refresh></isComposing>\r\n",
                    refresh.as_secs()
                );
                ("application/im-iscomposing+xml", body, *refresh)
            }
            News::Report {
                message_id,
                sent_at,
                disposition,
            } => {
                let (kind, status) = match disposition {
                    Disposition::Delivered => ("delivery-notification", "delivered"),
                    Disposition::Displayed => ("display-notification", "displayed"),
                };
                let body = format!(
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\">\
                     <message-id>{}</message-id><datetime>{}</datetime>\
                     <{kind}><status><{status}/></status></{kind}></imdn>\r\n",
                    escaped(message_id),
                    sent_at.rfc3339()
                );
                ("message/imdn+xml", body, REPORT_EXPIRES)
            }
        }
    }
}

/// A text as the content of an element.
fn escaped(text: &str) -> String {
    // The ampersand first, so that it is not found in what stands for the others.
    let text = text.replace('&', "&amp;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h160_a_report_names_its_message_as_the_sender_does() {
        let report = News::Report {
            message_id: "a<b>&c@host".into(),
            sent_at: Timestamp(0),
            disposition: Disposition::Displayed,
        };
        let (kind, body, _) = report.content();
        assert_eq!(kind, "message/imdn+xml");
        for part in [
            "<message-id>a&lt;b&gt;&amp;c@host</message-id>",
            "<datetime>1970-01-01T00:00:00.000000Z</datetime>",
            "<display-notification><status><displayed/></status></display-notification>",
        ] {
            assert!(body.contains(part), "{part} in {body}");
        }
    }
}
