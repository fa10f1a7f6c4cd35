//! Validators and parsers for SIP names, hosts and URIs.
