//! GraphQL over HTTP and WebSocket for any async-graphql schema.
