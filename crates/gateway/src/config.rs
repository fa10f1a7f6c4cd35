//! What the operator may set of the HTTP front door.

use sipgraph_graphql_transport::Origins;

use crate::meters::Meters;

/// The settings of the front door.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Origins, besides the server's own, whose pages may call. The default allows none.
    pub origins: Origins,
    /// Limits of documents, bodies and sockets.
    pub transport: sipgraph_graphql_transport::Config,
    /// Where operations are counted.
    pub meters: Meters,
}
