//! What the fuzz targets share. The properties themselves are tests of `sip-validate` too.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

#[path = "../../tests/it/properties.rs"]
mod properties;

/// The processor's time that a property may take for one octet: many times what it takes with instrumentation, and
/// far below what quadratic work takes for [`OCTETS_MIN`]. Time in which other programs run does not count.
const PER_OCTET: Duration = Duration::from_micros(10);

/// Shorter inputs are not measured.
const OCTETS_MIN: usize = 2048;

/// How often a slow input may try again: a busy machine also slows the processor's caches, but not every time.
const TRIES: usize = 5;

/// Runs a property and panics when it takes more than linear time.
fn linear(octets: &[u8], property: fn(&[u8])) {
    let count = match u32::try_from(octets.len()) {
        Ok(count) if octets.len() >= OCTETS_MIN => count,
        _ => return property(octets),
    };
    let limit = PER_OCTET * count;
    let now = || {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        Duration::try_from(now).expect("a clock of the processor begins at zero")
    };
    let is_slow = || {
        let start = now();
        property(octets);
        now() - start > limit
    };
    let is_always_slow = (0..TRIES).all(|_| is_slow());
    assert!(!is_always_slow, "{count} octets take more than {limit:?}");
}

/// A SIP URI.
pub fn uri(octets: &[u8]) {
    linear(octets, properties::uri);
}

/// A host.
pub fn host(octets: &[u8]) {
    linear(octets, properties::host);
}

/// A message in a datagram and in a WebSocket message.
pub fn message_on_udp(octets: &[u8]) {
    linear(octets, properties::message_on_udp);
}

/// Messages on a stream.
pub fn message_on_stream(octets: &[u8]) {
    linear(octets, properties::message_on_stream);
}
