//! The domain of sipgraph: rules, use cases and ports, without any I/O.
