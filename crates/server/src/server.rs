//! A running server: the listeners, the workers, and the order in which they start and end.

use crate::config::Config;
use crate::control::Control;
use crate::failure::Failure;
use crate::http::{Connections, Listener, Peer};
use crate::lock::Lock;
use crate::metrics::Metrics;
use crate::shutdown::{self, Signals};
use crate::simulation::WithSimulation;
use crate::tls::{self, Certificate};
use crate::wiring::Instance;
use crate::workers::Workers;
use axum::http::request::Parts;
use prometheus_client::registry::Registry;
use sipgraph_gateway::{Drain, Hosts, Meters, Origins};
use sipgraph_sip_edge::{HttpPeer, SipEdge, Tls, Transport};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::signal::unix::Signal;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// The most connections of those who read the metrics.
const SCRAPES_MAX: usize = 16;

/// The real addresses of the listeners.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// GraphQL and GraphiQL.
    pub(crate) http: Vec<SocketAddr>,
    /// Devices over UDP.
    pub(crate) udp: Vec<SocketAddr>,
    /// Devices over TCP.
    pub(crate) tcp: Vec<SocketAddr>,
    /// Devices over TLS.
    pub(crate) tls: Vec<SocketAddr>,
    /// `/metrics`.
    pub(crate) metrics: Vec<SocketAddr>,
    /// Whether HTTP is encrypted.
    pub(crate) is_https: bool,
}

impl Addresses {
    /// Returns what a URL of the HTTP listeners begins with.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.is_https { "https://" } else { "http://" }
    }

    /// Writes the ready line: `key=value`, lists with commas. Scripts and tests read it.
    fn ready_line(&self, database: &str) -> String {
        let list = |prefix: &str, addresses: &[SocketAddr]| {
            addresses
                .iter()
                .map(|address| format!("{prefix}{address}"))
                .collect::<Vec<_>>()
                .join(",")
        };
        format!(
            "sipgraph ready http={} udp={} tcp={} tls={} metrics={} database={database}",
            list(self.scheme(), &self.http),
            list("", &self.udp),
            list("", &self.tcp),
            list("", &self.tls),
            list("http://", &self.metrics),
        )
    }
}

/// A server whose listeners are open.
pub(crate) struct Server {
    instance: Instance,
    addresses: Addresses,
    database: &'static str,
    workers: Workers,
    connections: Connections,
    scrapes: Connections,
    drain: Drain,
    sip: JoinHandle<()>,
    sip_stop: CancellationToken,
    /// What commands on this machine are answered by.
    control: Option<JoinHandle<()>>,
    _lock: Lock,
}

impl Server {
    /// Opens every listener and starts the workers. When an address is taken, nothing was started and the database is
    /// closed.
    ///
    /// # Errors
    /// An address that can't be opened; those of the database.
    pub(crate) async fn start(
        instance: Instance,
        lock: Lock,
        config: &Config,
    ) -> Result<Self, Failure> {
        match open(&instance, config).await {
            Ok(doors) => Ok(Self::run_all(instance, lock, config, doors)?),
            Err(failure) => {
                instance.close().await;
                Err(failure)
            }
        }
    }

    fn run_all(
        instance: Instance,
        lock: Lock,
        config: &Config,
        doors: Doors,
    ) -> Result<Self, Failure> {
        let Doors {
            listeners,
            metrics,
            https,
            sip,
            certificates,
            hang_up,
            control,
        } = doors;
        let mut addresses = Addresses {
            is_https: https.is_some(),
            ..Addresses::default()
        };
        for (transport, address) in sip.addresses() {
            match transport {
                Transport::Udp => addresses.udp.push(address),
                Transport::Tcp => addresses.tcp.push(address),
                Transport::Tls => addresses.tls.push(address),
                // They come by the HTTP listeners.
                Transport::Ws | Transport::Wss => {}
            }
        }
        let mut workers = Workers::start(
            &instance.app,
            &instance.bus,
            Arc::new(WithSimulation(sip.technology())),
        );
        workers.watch(certificates, hang_up);
        workers.follow_keys(&instance.app, &instance.storage, config.key_file());
        let meters = Meters::default();
        let mut registry = Registry::default();
        sip.register_meters(&mut registry);
        meters.register(&mut registry);
        let scrape = Metrics::new(&instance, registry).router();
        let origins = origins(config)?;
        let websocket = sip.websocket_route(admit(origins.clone()));
        let sip_stop = CancellationToken::new();
        let control =
            control.map(|control| tokio::spawn(control.serve(sip.traces(), sip_stop.clone())));
        let sip = tokio::spawn(sip.serve(sip_stop.clone()));

        let drain = Drain::default();
        let front = sipgraph_gateway::Config {
            origins,
            meters,
            ..sipgraph_gateway::Config::default()
        };
        let router = sipgraph_gateway::router(instance.app.clone(), front, drain.clone())
            .route("/sip", websocket);
        let loopback = sipgraph_gateway::loopback_hosts_only(
            router.clone(),
            Hosts::new(config.http.hosts.iter().cloned()),
        );
        let connections = Connections::new(config.http.connections_max);
        for listener in listeners {
            addresses.http.push(listener.address);
            let router = if listener.address.ip().is_loopback() {
                loopback.clone()
            } else {
                router.clone()
            };
            connections.accept(listener, https.clone(), router);
        }
        // Few, because each is a count of the database; and without TLS, on an address of the operator's own.
        let scrapes = Connections::new(SCRAPES_MAX);
        for listener in metrics {
            addresses.metrics.push(listener.address);
            scrapes.accept(listener, None, scrape.clone());
        }
        Ok(Self {
            instance,
            addresses,
            database: config.database.url.backend(),
            workers,
            connections,
            scrapes,
            drain,
            sip,
            sip_stop,
            control,
            _lock: lock,
        })
    }

    /// Returns the real addresses.
    pub(crate) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Says on standard error, whatever the log's filter, that every listener is open.
    pub(crate) fn ready(&self) {
        eprintln!("{}", self.addresses.ready_line(self.database));
    }

    /// Serves until a signal comes or a worker fails, then drains. A second signal ends the program at once.
    ///
    /// # Errors
    /// The worker's failure; a drain that was cut short.
    pub(crate) async fn run(mut self, mut signals: Signals) -> Result<(), Failure> {
        let ended = tokio::select! {
            () = signals.next() => Ok(()),
            failure = self.workers.failed() => Err(failure),
        };
        tracing::info!("draining");
        tokio::select! {
            () = self.end() => ended,
            () = signals.next() => {
                Err(Failure::Failed("A second signal ended the program before it was drained.".to_owned()))
            }
        }
    }

    /// Stops accepting, lets running requests end, closes subscriptions with a cursor to resume from, writes what
    /// waits, and closes the database.
    async fn end(self) {
        let Self {
            instance,
            workers,
            connections,
            scrapes,
            drain,
            sip,
            sip_stop,
            control,
            ..
        } = self;
        connections.stop();
        scrapes.stop();
        drain.begin();
        instance.app.drain();
        // The SIP edge goes on for now: phones are answering messages that were sent to them.
        let front = async {
            tokio::join!(workers.stop(), drain.finished(), connections.finished());
        };
        if timeout(shutdown::FRONT, front).await.is_err() {
            tracing::warn!("clients were cut off: they did not end in time");
        }
        tracing::debug!("clients are served");
        sip_stop.cancel();
        // Traces end with the edge that they show.
        let control = async {
            if let Some(control) = control {
                let _ = control.await;
            }
        };
        let edge = async { tokio::join!(sip, control) };
        if timeout(shutdown::SIP, edge).await.is_err() {
            tracing::warn!("requests of devices were cut off: they did not end in time");
        }
        tracing::debug!("devices are served");
        let flush = async {
            tokio::join!(
                instance.app.presence_flush(),
                instance.app.registration_failures_flush()
            )
        };
        match timeout(shutdown::FLUSH, flush).await {
            Ok((Ok(()), Ok(()))) => {}
            Ok((Err(error), _) | (_, Err(error))) => {
                tracing::warn!(%error, "the latest refreshes or failures could not be written");
            }
            Err(_) => {
                tracing::warn!("the latest refreshes or failures could not be written in time");
            }
        }
        if timeout(shutdown::CLOSE, instance.close()).await.is_err() {
            tracing::warn!("the database was not closed in time");
        }
        tracing::info!("drained");
    }
}

/// What is open before anything is served.
struct Doors {
    listeners: Vec<Listener>,
    /// Those of `/metrics`.
    metrics: Vec<Listener>,
    /// The HTTP listeners' side of TLS.
    https: Option<TlsAcceptor>,
    sip: SipEdge,
    /// Those in use.
    certificates: Vec<Arc<Certificate>>,
    /// Asks for new certificates.
    hang_up: Signal,
    control: Option<Control>,
}

/// Opens the listeners. Those of SIP come last: what was bound before must be known before a device speaks.
async fn open(instance: &Instance, config: &Config) -> Result<Doors, Failure> {
    let hang_up = tls::hang_up()?;
    let http_certificate = config
        .http_certificate()
        .map(Certificate::load)
        .transpose()?;
    let sip_certificate = config
        .sip_certificate()
        .map(Certificate::load)
        .transpose()?;
    let https = match &http_certificate {
        Some(certificate) => Some(TlsAcceptor::from(certificate.http()?)),
        None => None,
    };
    let sips = match &sip_certificate {
        Some(certificate) => Some(Tls {
            listen: config.sip.tls_listen.clone(),
            server: certificate.sip()?,
        }),
        None => None,
    };
    let mut listeners = Vec::new();
    for address in &config.http.listen {
        listeners.push(Listener::open("http.listen", *address).await?);
    }
    let mut metrics = Vec::new();
    for address in &config.metrics.listen {
        metrics.push(Listener::open("metrics.listen", *address).await?);
    }
    let control = Control::open(config).await?;
    instance.app.presence_start().await?;
    if !instance.storage.is_shared() {
        instance.app.delivery_start_alone().await?;
    }
    let others = listeners.iter().chain(&metrics);
    let sip_config = sipgraph_sip_edge::Config {
        other_listeners: others.map(|listener| listener.address).collect(),
        ..sip_config(config, sips)
    };
    let sip = SipEdge::bind(sip_config, Arc::clone(&instance.app))
        .await
        .map_err(|error| {
            let key = match error.transport {
                Transport::Udp => "sip.udp_listen",
                Transport::Tls => "sip.tls_listen",
                Transport::Tcp | Transport::Ws | Transport::Wss => "sip.tcp_listen",
            };
            Failure::failed(
                format_args!("{key}: {} can't be opened", error.address),
                format_args!("{}. {}", error.source, crate::http::TAKEN),
            )
        })?;
    Ok(Doors {
        listeners,
        metrics,
        https,
        sip,
        certificates: [http_certificate, sip_certificate]
            .into_iter()
            .flatten()
            .collect(),
        hang_up,
        control,
    })
}

/// Says to the SIP edge who asks for a WebSocket, unless it is a page of an origin that may not.
fn admit(origins: Origins) -> impl Fn(&Parts) -> Option<HttpPeer> + Send + Sync + 'static {
    move |request| {
        let Peer {
            local,
            remote,
            is_secure,
        } = *request.extensions.get()?;
        origins.may_open(&request.headers).then_some(HttpPeer {
            local,
            remote,
            is_secure,
        })
    }
}

fn origins(config: &Config) -> Result<Origins, Failure> {
    Origins::parse(config.http.cors_origins.iter().map(String::as_str))
        .map_err(|error| Failure::key("http.cors_origins", error))
}

fn sip_config(config: &Config, tls: Option<Tls>) -> sipgraph_sip_edge::Config {
    let sip = &config.sip;
    sipgraph_sip_edge::Config {
        udp_listen: sip.udp_listen.clone(),
        tcp_listen: sip.tcp_listen.clone(),
        tls,
        advertised_host: sip.advertised_host.clone(),
        expires_s_default: sip.expires_s_default,
        connections_max: sip.connections_max,
        connections_per_source_max: sip.connections_per_source_max,
        authenticate_timeout: sip.authenticate_timeout,
        idle_timeout: sip.idle_timeout,
        qualify: sip.qualify,
        websocket_ping: sip.websocket_ping,
        trunk_networks: sip.trunk_networks.clone(),
        other_listeners: Vec::new(),
        trunk_timeout: sipgraph_sip_edge::TRUNK_TIMEOUT,
        tls_client: Some(crate::tls::client()),
        strict_domain: sip.strict_domain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_is_key_value() {
        let addresses = Addresses {
            http: vec![
                SocketAddr::from(([127, 0, 0, 1], 4000)),
                SocketAddr::from(([192, 0, 2, 7], 4000)),
            ],
            udp: vec![SocketAddr::from(([127, 0, 0, 1], 5060))],
            tls: vec!["[::1]:5061".parse().unwrap()],
            ..Addresses::default()
        };
        assert_eq!(
            addresses.ready_line("sqlite"),
            "sipgraph ready http=http://127.0.0.1:4000,http://192.0.2.7:4000 udp=127.0.0.1:5060 tcp= tls=[::1]:5061 metrics= database=sqlite"
        );
        let addresses = Addresses {
            is_https: true,
            ..addresses
        };
        assert!(
            addresses
                .ready_line("sqlite")
                .starts_with("sipgraph ready http=https://127.0.0.1:4000,https:")
        );
    }
}
