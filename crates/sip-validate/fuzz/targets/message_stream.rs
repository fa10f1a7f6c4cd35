//! Fuzzes whole messages on a stream for crashes, hangs and broken properties.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| sip_validate_fuzz::message_on_stream(octets));
