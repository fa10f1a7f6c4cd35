//! A running server: the listeners, the workers, and the order in which they start and end.

use crate::config::Config;
use crate::failure::Failure;
use crate::http::{Connections, Listener};
use crate::lock::Lock;
use crate::shutdown::{self, Signals};
use crate::wiring::Instance;
use crate::workers::Workers;
use sipgraph_gateway::{Drain, Hosts, Origins};
use sipgraph_sip_edge::{SipEdge, Transport};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The real addresses of the listeners.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// GraphQL and GraphiQL.
    pub(crate) http: Vec<SocketAddr>,
    /// Devices over UDP.
    pub(crate) udp: Vec<SocketAddr>,
    /// Devices over TCP.
    pub(crate) tcp: Vec<SocketAddr>,
}

impl Addresses {
    /// Writes the ready line: `key=value`, lists with commas. Scripts and tests read it.
    fn ready_line(&self, database: &str) -> String {
        let list = |prefix: &str, addresses: &[SocketAddr]| {
            addresses
                .iter()
                .map(|address| format!("{prefix}{address}"))
                .collect::<Vec<_>>()
                .join(",")
        };
        let Self { http, udp, tcp } = self;
        format!(
            "sipgraph ready http={} udp={} tcp={} database={database}",
            list("http://", http),
            list("", udp),
            list("", tcp),
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
    drain: Drain,
    sip: JoinHandle<()>,
    sip_stop: CancellationToken,
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
            Ok((listeners, sip)) => Ok(Self::run_all(instance, lock, config, listeners, sip)?),
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
        listeners: Vec<Listener>,
        sip: SipEdge,
    ) -> Result<Self, Failure> {
        let mut addresses = Addresses::default();
        for (transport, address) in sip.addresses() {
            match transport {
                Transport::Udp => addresses.udp.push(address),
                Transport::Tcp => addresses.tcp.push(address),
                // Not in this version; the configuration refuses them.
                Transport::Tls | Transport::Ws | Transport::Wss => {}
            }
        }
        let workers = Workers::start(&instance.app, &instance.bus, sip.technology());
        let sip_stop = CancellationToken::new();
        let sip = tokio::spawn(sip.serve(sip_stop.clone()));

        let drain = Drain::default();
        let front = sipgraph_gateway::Config {
            origins: origins(config)?,
            ..sipgraph_gateway::Config::default()
        };
        let router = sipgraph_gateway::router(instance.app.clone(), front, drain.clone());
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
            connections.accept(listener, router);
        }
        Ok(Self {
            instance,
            addresses,
            database: config.database.url.backend(),
            workers,
            connections,
            drain,
            sip,
            sip_stop,
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
            drain,
            sip,
            sip_stop,
            ..
        } = self;
        connections.stop();
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
        if timeout(shutdown::SIP, sip).await.is_err() {
            tracing::warn!("requests of devices were cut off: they did not end in time");
        }
        tracing::debug!("devices are served");
        match timeout(shutdown::FLUSH, instance.app.presence_flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the latest refreshes could not be written"),
            Err(_) => tracing::warn!("the latest refreshes could not be written in time"),
        }
        if timeout(shutdown::CLOSE, instance.close()).await.is_err() {
            tracing::warn!("the database was not closed in time");
        }
        tracing::info!("drained");
    }
}

/// Opens the listeners. Those of SIP come last: what was bound before must be known before a device speaks.
async fn open(instance: &Instance, config: &Config) -> Result<(Vec<Listener>, SipEdge), Failure> {
    let mut listeners = Vec::new();
    for address in &config.http.listen {
        listeners.push(Listener::open(*address).await?);
    }
    instance.app.presence_start().await?;
    if !instance.storage.is_shared() {
        instance.app.delivery_start_alone().await?;
    }
    let sip = SipEdge::bind(sip_config(config), Arc::clone(&instance.app))
        .await
        .map_err(|error| {
            Failure::failed(
                format_args!(
                    "sip.udp_listen or sip.tcp_listen: {} can't be opened",
                    error.address
                ),
                format_args!("{}. {}", error.source, crate::http::TAKEN),
            )
        })?;
    Ok((listeners, sip))
}

fn origins(config: &Config) -> Result<Origins, Failure> {
    Origins::parse(config.http.cors_origins.iter().map(String::as_str))
        .map_err(|error| Failure::key("http.cors_origins", error))
}

fn sip_config(config: &Config) -> sipgraph_sip_edge::Config {
    let sip = &config.sip;
    sipgraph_sip_edge::Config {
        udp_listen: sip.udp_listen.clone(),
        tcp_listen: sip.tcp_listen.clone(),
        advertised_host: sip.advertised_host.clone(),
        expires_s_default: sip.expires_s_default,
        connections_max: sip.connections_max,
        connections_per_source_max: sip.connections_per_source_max,
        authenticate_timeout: sip.authenticate_timeout,
        idle_timeout: sip.idle_timeout,
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
            tcp: Vec::new(),
        };
        assert_eq!(
            addresses.ready_line("sqlite"),
            "sipgraph ready http=http://127.0.0.1:4000,http://192.0.2.7:4000 udp=127.0.0.1:5060 tcp= database=sqlite"
        );
    }
}
