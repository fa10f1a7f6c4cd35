//! What the outside provides. Ports are object-safe and return boxed futures, so that the application is not generic
//! and a front door never names a database.

pub mod bus;
pub mod clock;
pub mod store;
pub mod technology;

pub use bus::{Bus, Wake};
pub use clock::{Clock, Entropy};
pub use store::Store;
pub use technology::{
    Attempt, AttemptResult, AttemptTarget, Pace, TRUNK_WAIT_MAX, Technology, TrunkAddress,
};

/// A boxed future that a port returns.
pub type PortFuture<'a, T> = futures_util::future::BoxFuture<'a, T>;
