//! The GraphQL front door of sipgraph.
