//! Counters of the edge, for the operator; docs/metrics.md says what each means.
//!
//! It must not count by anything that a stranger chooses freely: every label has a few values.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use sipgraph_core::binding::Transport;
use sipgraph_core::ports::AttemptResult;
use sipgraph_core::registration_failure::FailureReason;

use crate::transport::Transports;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    status: u32,
    transport: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Failed {
    reason: &'static str,
    transport: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Dropped {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Delivered {
    outcome: &'static str,
}

/// The counters.
#[derive(Default)]
pub(crate) struct Meters {
    requests: Family<Answered, Counter>,
    failures: Family<Failed, Counter>,
    bans: Counter,
    dropped: Family<Dropped, Counter>,
    deliveries: Family<Delivered, Counter>,
}

/// Tells the open connections when it is asked.
pub(crate) struct Connections(pub(crate) Arc<Transports>);

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connections")
    }
}

impl Collector for Connections {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let open = i64::try_from(self.0.connections_open()).unwrap_or(i64::MAX);
        let gauge = ConstGauge::new(open);
        let help = "Open connections of devices";
        let encoder =
            encoder.encode_descriptor("sip_connections", help, None, gauge.metric_type())?;
        gauge.encode(encoder)
    }
}

/// A method as a label: those that are known, so that no stranger makes new ones.
fn method_label(method: &str) -> &'static str {
    const KNOWN: [&str; 13] = [
        "ACK",
        "BYE",
        "CANCEL",
        "INFO",
        "INVITE",
        "MESSAGE",
        "NOTIFY",
        "OPTIONS",
        "PRACK",
        "PUBLISH",
        "REFER",
        "REGISTER",
        "SUBSCRIBE",
    ];
    let known = KNOWN.into_iter().find(|known| *known == method);
    known.unwrap_or("other")
}

impl Meters {
    /// Puts the counters under their names.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "sip_requests",
            "SIP requests that were answered",
            self.requests.clone(),
        );
        registry.register(
            "sip_auth_failures",
            "SIP requests whose credentials were wrong",
            self.failures.clone(),
        );
        registry.register("sip_bans", "Sources that were banned", self.bans.clone());
        registry.register(
            "sip_requests_dropped",
            "SIP requests that got no answer",
            self.dropped.clone(),
        );
        registry.register(
            "sip_deliveries",
            "Attempts to deliver a message to a contact",
            self.deliveries.clone(),
        );
    }

    pub(crate) fn answered(&self, method: &str, status: u16, transport: Transport) {
        self.requests
            .get_or_create(&Answered {
                method: method_label(method),
                status: status.into(),
                transport: transport.as_str(),
            })
            .inc();
    }

    pub(crate) fn failed(&self, reason: FailureReason, transport: Transport) {
        self.failures
            .get_or_create(&Failed {
                reason: reason.as_str(),
                transport: transport.as_str(),
            })
            .inc();
    }

    pub(crate) fn banned(&self) {
        self.bans.inc();
    }

    /// Counts a request that gets no answer: `rate`, `banned`, `busy` or `amplification`.
    pub(crate) fn dropped(&self, reason: &'static str) {
        self.dropped.get_or_create(&Dropped { reason }).inc();
    }

    pub(crate) fn delivered(&self, result: &AttemptResult) {
        let outcome = match result {
            AttemptResult::Answered {
                status: 200..=299, ..
            } => "taken",
            AttemptResult::Answered { .. } => "refused",
            AttemptResult::Timeout => "timeout",
            AttemptResult::TransportError(_) => "transport_error",
            AttemptResult::NotSent => return,
        };
        self.deliveries.get_or_create(&Delivered { outcome }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_make_no_labels() {
        let meters = Meters::default();
        for n in 0..100 {
            meters.answered(&format!("BREW{n}"), 501, Transport::Udp);
        }
        meters.answered("REGISTER", 200, Transport::Tcp);
        meters.failed(FailureReason::WrongPassword, Transport::Udp);
        let mut registry = Registry::default();
        meters.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "sip_requests_total{method=\"other\",status=\"501\",transport=\"UDP\"} 100",
            "sip_requests_total{method=\"REGISTER\",status=\"200\",transport=\"TCP\"} 1",
            "sip_auth_failures_total{reason=\"wrong_password\",transport=\"UDP\"} 1",
            "sip_bans_total 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
    }
}
