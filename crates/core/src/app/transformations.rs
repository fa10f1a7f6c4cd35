//! Transformations of numbers, tried out.

use super::App;
use crate::Fault;
use crate::access::{Caller, Scope};
use crate::transformation::{GivenRule, Transformations, Transformed, number};

impl App {
    /// Says what a number becomes by rules, step by step. Scope: `endpoints.read`.
    ///
    /// # Errors
    /// `Forbidden`; all that is wrong with the rules, at `transformations`, and with the number, at `number`.
    pub fn transformations_preview(
        &self,
        caller: &Caller,
        rules: &[GivenRule],
        given: &str,
    ) -> Result<Transformed, Fault> {
        caller.require(Scope::EndpointsRead)?;
        let compiled = Transformations::compile_given("transformations", rules);
        match (compiled, number("number", given)) {
            (Ok(rules), Ok(())) => Ok(rules.apply(given)),
            (compiled, number) => {
                let mut problems = compiled.err().unwrap_or_default();
                problems.extend(number.err());
                Err(Fault::Refused(problems))
            }
        }
    }
}
