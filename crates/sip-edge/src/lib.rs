//! The SIP front door: transports, transactions, registrar and messages.
