//! The sipgraph program.
fn main() {}
