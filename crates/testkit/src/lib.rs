//! Builders, clocks and databases for the tests of sipgraph.
