//! `/metrics`: what the parts count, as Prometheus reads it, on a listener of its own. docs/metrics.md names each.

use crate::wiring::Instance;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use sipgraph_core::App;
use sipgraph_storage::Storage;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::time::timeout;

/// How long the database may take for its part of a scrape; without it the rest is told.
const TOTALS: Duration = Duration::from_secs(2);
/// What Prometheus expects of `OpenMetrics` text.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All that a scrape needs.
pub(crate) struct Metrics {
    registry: Registry,
    app: Arc<App>,
    bindings: Gauge,
    dispatches: Gauge,
    banned: Gauge,
    search_lag: Gauge<f64, AtomicU64>,
}

impl Metrics {
    /// Prepares with what the parts have registered.
    pub(crate) fn new(instance: &Instance, mut registry: Registry) -> Self {
        let [bindings, dispatches, banned] = [(); 3].map(|()| Gauge::default());
        registry.register(
            "sip_bindings",
            "Contacts that are registered, of the whole instance",
            bindings.clone(),
        );
        registry.register(
            "messages_waiting",
            "Messages on their way to a device, of the whole instance",
            dispatches.clone(),
        );
        registry.register(
            "sip_banned_sources",
            "Sources that this node does not listen to now",
            banned.clone(),
        );
        let search_lag = Gauge::default();
        registry.register(
            "messages_search_lag_seconds",
            "Age of the oldest message that this node found in no index yet",
            search_lag.clone(),
        );
        registry.register_collector(Box::new(Writers(Arc::clone(&instance.storage))));
        Self {
            registry,
            app: Arc::clone(&instance.app),
            bindings,
            dispatches,
            banned,
            search_lag,
        }
    }

    /// Returns the router of the metrics' listener, which answers nothing else.
    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/metrics", get(scrape))
            .with_state(Arc::new(self))
    }
}

/// What the writers of the store count.
#[derive(Debug)]
struct Writers(Arc<Storage>);

impl Collector for Writers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let load = self.0.load();
        ConstCounter::new(load.commits).encode(encoder.encode_descriptor(
            "store_commits",
            "Changes that were stored",
            None,
            MetricType::Counter,
        )?)?;
        ConstCounter::new(load.batches).encode(encoder.encode_descriptor(
            "store_batches",
            "Transactions that stored them: changes that wait at the same time share one",
            None,
            MetricType::Counter,
        )?)?;
        let waiting = i64::try_from(load.waiting).unwrap_or(i64::MAX);
        ConstGauge::new(waiting).encode(encoder.encode_descriptor(
            "store_commits_waiting",
            "Changes that wait to be stored or are being stored now",
            None,
            MetricType::Gauge,
        )?)
    }
}

async fn scrape(State(metrics): State<Arc<Metrics>>) -> Response {
    match timeout(TOTALS, metrics.app.totals()).await {
        Ok(Ok(totals)) => {
            metrics.bindings.set(totals.bindings);
            metrics.dispatches.set(totals.dispatches);
        }
        Ok(Err(error)) => tracing::warn!(%error, "the database was not counted for the metrics"),
        Err(_) => tracing::warn!("the database was not counted for the metrics in time"),
    }
    let banned = metrics.app.bans_count();
    metrics
        .banned
        .set(i64::try_from(banned).unwrap_or(i64::MAX));
    let lag = metrics.app.search_lag();
    metrics.search_lag.set(lag.as_secs_f64());
    let mut text = String::new();
    match encode(&mut text, &metrics.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
