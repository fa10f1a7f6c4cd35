//! `sipgraph serve`, the default command.

use crate::config::Config;
use crate::descriptors;
use crate::failure::Failure;
use crate::lock::Lock;
use crate::server::Server;
use crate::shutdown::Signals;
use crate::wiring::Instance;

/// Serves until a signal ends it.
///
/// # Errors
/// A wrong key file, a database that can't be opened, an address that is taken, a worker that failed.
pub(crate) async fn run(config: Config) -> Result<(), Failure> {
    let signals = Signals::listen()?;
    descriptors::raise(&config);
    let lock = Lock::take(&config.database.url)?;
    let instance = Instance::open_to_serve(&config).await?;
    let server = Server::start(instance, lock, &config).await?;
    server.ready();
    server.run(signals).await
}
