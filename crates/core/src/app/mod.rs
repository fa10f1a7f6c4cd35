//! Use cases.
/// App.
pub struct App;
