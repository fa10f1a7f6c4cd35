//! Benchmarks and load programs of sipgraph.
