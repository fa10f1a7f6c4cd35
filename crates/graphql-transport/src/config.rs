//! The limits of the transport, each with its default and its reason.

use std::time::Duration;

use crate::Origins;

/// The limits and allow lists of one GraphQL route.
#[derive(Clone, Debug)]
pub struct Config {
    /// What a document may cost.
    pub gate: GateLimits,
    /// What a WebSocket may hold.
    pub sockets: SocketLimits,
    /// Longest request body in bytes. 1 MiB holds a thousand endpoints in one mutation.
    pub body_bytes_max: usize,
    /// Longest time to receive a request body, so that a slow sender frees its task.
    pub body_timeout: Duration,
    /// Queries and mutations that run at one time. They run to the end although their client has
    /// left, so that connections alone do not bound them.
    pub operations_max: usize,
    /// Most errors in one response. A document of 5,000 directives made 414 KB of errors.
    pub errors_max: usize,
    /// Longest error message in characters.
    pub error_message_chars_max: usize,
    /// Origins, besides the route's own, from which a browser may open a WebSocket.
    pub origins: Origins,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            gate: GateLimits::default(),
            sockets: SocketLimits::default(),
            body_bytes_max: 1 << 20,
            body_timeout: Duration::from_secs(30),
            operations_max: 1024,
            errors_max: 50,
            error_message_chars_max: 500,
            origins: Origins::default(),
        }
    }
}

/// What a document may cost before it is refused with `QUERY_TOO_COMPLEX`.
///
/// Fragments count as often as they are spread; the count itself visits each fragment once.
#[derive(Clone, Debug)]
pub struct GateLimits {
    /// Lexical tokens; about 25 KB of ordinary text.
    pub tokens_max: usize,
    /// Brackets open at one time. The parser recurses once per bracket, so that this bounds its
    /// stack: 64 is four times the deepest field with a nested input object.
    pub nesting_max: usize,
    /// Selected fields of all operations.
    pub fields_max: u64,
    /// Spreads and inline fragments of all operations, so that a chain of fragments around few fields
    /// cannot make the rules that expand it slow.
    pub fragments_max: u64,
    /// Fields on the longest path. The introspection query of GraphiQL has 15.
    pub depth_max: u64,
    /// Aliased fields of all operations.
    pub aliases_max: u64,
    /// Directives of all operations.
    pub directives_max: u64,
    /// Lists of the introspection types on one path: `types { fields { type { fields } } }`
    /// multiplies with each.
    pub introspection_lists_max: u64,
    /// Name of the schema's mutation type; a root fragment must be on it.
    pub mutation_type: &'static str,
    /// Name of the schema's subscription type; a root fragment must be on it.
    pub subscription_type: &'static str,
}

impl Default for GateLimits {
    fn default() -> Self {
        Self {
            tokens_max: 5000,
            nesting_max: 64,
            fields_max: 1000,
            fragments_max: 1000,
            depth_max: 15,
            aliases_max: 30,
            directives_max: 50,
            introspection_lists_max: 2,
            mutation_type: "Mutation",
            subscription_type: "Subscription",
        }
    }
}

/// What a WebSocket may hold, and its timers.
#[derive(Clone, Debug)]
pub struct SocketLimits {
    /// Sockets open at one time; about 20 KiB of memory each.
    pub sockets_max: usize,
    /// Longest message from a client in bytes.
    pub message_bytes_max: usize,
    /// Operations that run on one socket at one time.
    pub operations_max: usize,
    /// Results that wait for one socket; a stream is polled no further while they do.
    pub queue_max: usize,
    /// Time for `connection_init` and its check.
    pub init_timeout: Duration,
    /// Time between the server's pings. A socket that sent nothing between two of them is closed.
    pub keep_alive: Duration,
    /// Time in which a client must take a message, then it is closed with 1013.
    pub write_timeout: Duration,
    /// Time for live streams to yield once more when the server drains.
    pub drain_grace: Duration,
    /// Time for the peer to answer a close.
    pub close_timeout: Duration,
}

impl Default for SocketLimits {
    fn default() -> Self {
        Self {
            sockets_max: 10_000,
            message_bytes_max: 1 << 20,
            operations_max: 100,
            queue_max: 8,
            init_timeout: Duration::from_secs(3),
            keep_alive: Duration::from_secs(12),
            write_timeout: Duration::from_secs(10),
            drain_grace: Duration::from_secs(2),
            close_timeout: Duration::from_secs(1),
        }
    }
}
