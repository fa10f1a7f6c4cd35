//! What the fuzz targets share. The properties themselves are tests of `sip-validate` too.

use std::time::{Duration, Instant};

#[path = "../../tests/it/properties.rs"]
mod properties;

/// The time that a property may take for one octet: hundreds of times what it takes with instrumentation, and
/// far below what quadratic work takes for [`OCTETS_MIN`].
const PER_OCTET: Duration = Duration::from_micros(10);

/// Shorter inputs are not measured.
const OCTETS_MIN: usize = 2048;

/// How often a slow input may try again: a busy machine stops a program now and then, but not every time.
const TRIES: usize = 5;

/// Runs a property and panics when it takes more than linear time.
fn linear(octets: &[u8], property: fn(&[u8])) {
    let Ok(count) = u32::try_from(octets.len()) else {
        return;
    };
    let limit = PER_OCTET * count;
    let took = || {
        let start = Instant::now();
        property(octets);
        start.elapsed()
    };
    if took() > limit && octets.len() >= OCTETS_MIN {
        let slow = (1..TRIES).all(|_| took() > limit);
        assert!(!slow, "{count} octets take more than {limit:?}");
    }
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
