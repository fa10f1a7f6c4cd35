//! `sipgraph demo`.

use crate::config::{Config, DatabaseUrl};
use crate::descriptors;
use crate::failure::Failure;
use crate::files;
use crate::lock::Lock;
use crate::playground::{self, Playground};
use crate::server::{Addresses, Server};
use crate::shutdown::Signals;
use crate::wiring::Instance;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

/// How to run the demo.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keeps the demo's database, key and passwords in this folder; a second run continues.
    #[arg(long, value_name = "FOLDER", default_value = "sipgraph-demo")]
    dir: PathBuf,
    /// Lets phones of the local network in, at this machine's address there (or at ADDRESS), and shows QR codes.
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, require_equals = true)]
    lan: Option<Option<IpAddr>>,
    /// Uses another port for GraphQL and GraphiQL.
    #[arg(long, value_name = "PORT")]
    http_port: Option<u16>,
    /// Uses another port for SIP.
    #[arg(long, value_name = "PORT")]
    sip_port: Option<u16>,
}

/// Runs the demo until a signal ends it.
///
/// # Errors
/// A folder that can't be used, a port that is taken, no local network.
pub(crate) async fn run(args: Args, config: Config) -> Result<(), Failure> {
    let signals = Signals::listen()?;
    let Args {
        dir,
        lan,
        http_port,
        sip_port,
    } = args;
    let lan = match lan {
        Some(Some(address)) => Some(address),
        Some(None) => Some(lan_address()?),
        None => None,
    };
    // For its owner alone: it holds the key and the passwords.
    files::make_folder(&dir).map_err(|error| {
        Failure::key(
            "--dir",
            format_args!("{} can't be made: {error}", dir.display()),
        )
    })?;
    let mut config = config;
    config.database.url = DatabaseUrl::Sqlite(dir.join("demo.db"));
    config.secret_key_file = None;
    // A page that a front-end developer serves on this machine may call; nothing else.
    config.http.cors_origins = vec![
        "http://localhost:*".to_owned(),
        "http://127.0.0.1:*".to_owned(),
    ];
    config.http.listen = listen(&config.http.listen, http_port, lan);
    config.sip.udp_listen = listen(&config.sip.udp_listen, sip_port, lan);
    config.sip.tcp_listen = listen(&config.sip.tcp_listen, sip_port, lan);

    descriptors::raise(&config);
    let lock = Lock::take(&config.database.url)?;
    let instance = Instance::open_to_serve(&config).await?;
    let playground = match playground::prepare(&instance.app, &dir, lan).await {
        Ok(playground) => playground,
        Err(failure) => {
            instance.close().await;
            return Err(failure);
        }
    };
    let server = Server::start(instance, lock, &config).await?;
    super::print(&instructions(&playground, server.addresses(), &dir, lan)?)?;
    server.ready();
    server.run(signals).await
}

/// Returns where to listen: as configured, with another port if given, and at the local network's address too.
fn listen(configured: &[SocketAddr], port: Option<u16>, lan: Option<IpAddr>) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = configured
        .iter()
        .map(|address| SocketAddr::new(address.ip(), port.unwrap_or(address.port())))
        .collect();
    if let (Some(ip), Some(first)) = (lan, addresses.first().copied()) {
        let also = SocketAddr::new(ip, first.port());
        if !addresses.iter().any(|address| covers(address, also)) {
            addresses.push(also);
        }
    }
    addresses
}

/// Returns whether a listener is reached at an address already. One at `[::]` is at IPv4 addresses too.
fn covers(listener: &SocketAddr, address: SocketAddr) -> bool {
    listener.port() == address.port() && reaches(listener.ip(), address.ip())
}

fn reaches(listener: IpAddr, ip: IpAddr) -> bool {
    listener == ip || (listener.is_unspecified() && (listener.is_ipv6() || ip.is_ipv4()))
}

/// Finds the address by which this machine reaches others. Nothing is sent: connecting a UDP socket only asks the
/// system for a route, here to an address that is reserved for documentation (RFC 5737).
fn lan_address() -> Result<IpAddr, Failure> {
    let found = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    };
    match found() {
        Ok(address) if !address.ip().is_loopback() && !address.ip().is_unspecified() => {
            Ok(address.ip())
        }
        Ok(_) => Err(Failure::key("--lan", NO_LAN)),
        Err(error) => Err(Failure::key("--lan", format_args!("{NO_LAN} ({error})"))),
    }
}

const NO_LAN: &str =
    "this machine's address in the local network is not known; give it with --lan=ADDRESS";

/// Writes what to type into a softphone and where GraphiQL is.
fn instructions(
    playground: &Playground,
    addresses: &Addresses,
    dir: &Path,
    lan: Option<IpAddr>,
) -> Result<String, Failure> {
    let Playground { token, alice, bob } = playground;
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    // Where a listener is at every address, nobody could type that.
    let at = |list: &[SocketAddr], ip| {
        let here = list.iter().find(|listener| reaches(listener.ip(), ip));
        here.map(|listener| SocketAddr::new(ip, listener.port()))
            .or(list.first().copied())
    };
    let scheme = addresses.scheme();
    let graphiql = |ip| at(&addresses.http, ip).map(|a| format!("{scheme}{a}/#token={token}"));
    let place = lan.unwrap_or(local);
    let phone = Phone {
        host: playground::host(place),
        udp: at(&addresses.udp, place).map(|a| a.port()),
        tcp: at(&addresses.tcp, place).map(|a| a.port()),
    };
    let mut text = String::new();
    let mut line = |line: &str| {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{line}");
    };
    line("");
    line("sipgraph demo");
    line(&format!(
        "  Its data is in {}; remove that folder to begin anew. Ctrl-C ends the demo.",
        dir.display()
    ));
    line("");
    line("GraphiQL, in a browser:");
    for url in [Some(local), lan]
        .into_iter()
        .flatten()
        .filter_map(graphiql)
    {
        line(&format!("  {url}"));
    }
    line("");
    line("Two softphones (Linphone, baresip, MicroSIP ...):");
    line(&format!("  {:<10} {:<26} {}", "User", "alice", "bob"));
    line(&format!("  {:<10} {alice:<26} {bob}", "Password"));
    line(&format!("  {:<10} {}", "Domain", phone.domain()));
    line(&format!("  {:<10} {}", "Transport", phone.transports()));
    // The address of whoever wrote names the domain alone: a phone that is elsewhere, or must use another port, finds
    // the way back for its answer only by a proxy.
    if lan.is_some() || phone.port() != 5060 {
        line(&format!("  {:<10} {}", "Proxy", phone.proxy()));
    }
    line("");
    line(&format!(
        "Send a message from one to the other, or to sip:echo@{}, which answers.",
        phone.domain()
    ));
    if let Some(ip) = lan {
        line("");
        line("For the phone: bob's settings as text");
        line(&qr(&format!(
            "User: bob\nPassword: {bob}\nDomain: {}\nTransport: {}\nProxy: {}",
            phone.domain(),
            phone.transports(),
            phone.proxy()
        ))?);
        if let Some(url) = graphiql(ip) {
            line("GraphiQL");
            line(&qr(&url)?);
        }
    }
    Ok(text)
}

/// What a softphone has to know.
struct Phone {
    host: String,
    udp: Option<u16>,
    tcp: Option<u16>,
}

impl Phone {
    fn port(&self) -> u16 {
        self.udp.or(self.tcp).unwrap_or(5060)
    }

    /// The port is left out where it is the one that a phone takes by itself.
    fn domain(&self) -> String {
        match self.port() {
            5060 => self.host.clone(),
            port => format!("{}:{port}", self.host),
        }
    }

    fn proxy(&self) -> String {
        format!("sip:{}:{}", self.host, self.port())
    }

    fn transports(&self) -> String {
        match (self.udp, self.tcp) {
            (Some(udp), Some(tcp)) if udp == tcp => format!("UDP or TCP, port {udp}"),
            (Some(udp), Some(tcp)) => format!("UDP, port {udp}, or TCP, port {tcp}"),
            (Some(udp), None) => format!("UDP, port {udp}"),
            (None, Some(tcp)) => format!("TCP, port {tcp}"),
            (None, None) => "none: no SIP listener is configured".to_owned(),
        }
    }
}

/// Draws a QR code, light on dark as terminals mostly are.
fn qr(text: &str) -> Result<String, Failure> {
    let code = QrCode::new(text).map_err(|error| Failure::failed("The QR code", error))?;
    Ok(code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .build())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everywhere(port: u16) -> Addresses {
        let all = vec![SocketAddr::from(([0, 0, 0, 0], port))];
        Addresses {
            http: all.clone(),
            udp: all.clone(),
            tcp: all,
            ..Addresses::default()
        }
    }

    fn addresses(port: u16) -> Addresses {
        let all = vec![
            SocketAddr::from(([127, 0, 0, 1], port)),
            SocketAddr::from(([192, 0, 2, 7], port)),
        ];
        Addresses {
            http: all.clone(),
            udp: all.clone(),
            tcp: all,
            ..Addresses::default()
        }
    }

    fn text(lan: Option<IpAddr>, addresses: &Addresses) -> String {
        let playground = Playground {
            token: "TOKEN".to_owned(),
            alice: "alice-password".to_owned(),
            bob: "bob-password".to_owned(),
        };
        instructions(&playground, addresses, Path::new("here"), lan).unwrap()
    }

    #[test]
    fn the_instructions_have_all_that_a_phone_needs() {
        let local = text(None, &addresses(5060));
        for part in [
            "http://127.0.0.1:5060/#token=TOKEN",
            "alice-password",
            "bob-password",
            "Domain     127.0.0.1\n",
            "UDP or TCP, port 5060",
            "sip:echo@127.0.0.1,",
        ] {
            assert!(local.contains(part), "{part}: {local}");
        }
        assert!(!local.contains("192.0.2.7") && !local.contains('█'));
        assert!(!local.contains("Proxy"));
        assert!(text(None, &addresses(5070)).contains("Proxy      sip:127.0.0.1:5070\n"));

        let there = Some(IpAddr::from([192, 0, 2, 7]));
        let lan = text(there, &addresses(5070));
        for part in [
            "http://192.0.2.7:5070/#token=TOKEN",
            "Domain     192.0.2.7:5070\n",
            "Proxy      sip:192.0.2.7:5070\n",
            "█",
        ] {
            assert!(lan.contains(part), "{part}: {lan}");
        }
        assert_eq!(text(None, &everywhere(5070)), text(None, &addresses(5070)));
        assert_eq!(text(there, &everywhere(5070)), lan);
    }

    #[test]
    fn the_local_network_is_listened_to_beside_what_is_configured() {
        let configured = [SocketAddr::from(([127, 0, 0, 1], 5060))];
        let lan = IpAddr::from([192, 0, 2, 7]);
        assert_eq!(listen(&configured, None, None), configured);
        assert_eq!(
            listen(&configured, Some(7), Some(lan)),
            [
                SocketAddr::from(([127, 0, 0, 1], 7)),
                SocketAddr::new(lan, 7)
            ]
        );
        assert_eq!(listen(&[], None, Some(lan)), []);

        // The system gives an address only once.
        for everywhere in ["0.0.0.0:5060", "[::]:5060"] {
            let everywhere = [everywhere.parse().unwrap()];
            assert_eq!(listen(&everywhere, None, Some(lan)), everywhere);
        }
        let six = "2001:db8::7".parse().unwrap();
        assert_eq!(
            listen(&["0.0.0.0:5060".parse().unwrap()], None, Some(six)).len(),
            2
        );
    }
}
