//! Fuzzes SIP URIs for crashes, hangs and broken properties.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| sip_validate_fuzz::uri(octets));
