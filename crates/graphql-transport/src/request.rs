//! From JSON to an operation that may be executed; the same for HTTP and WebSocket.

use async_graphql::{
    Data, Request, ServerError, Value as GraphqlValue, Variables,
    parser::types::{ExecutableDocument, OperationDefinition, OperationType},
};
use serde_json::{Map, Value};

use crate::{
    GateLimits, code, coded,
    documents::{Admitted, Documents},
};

/// The parameters of a GraphQL request, their types checked.
#[derive(Debug)]
pub(crate) struct Params {
    query: String,
    operation_name: Option<String>,
    variables: Map<String, Value>,
    extensions: Map<String, Value>,
}

impl Params {
    /// Reads the four well-known parameters; others are ignored, as the specification demands.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub(crate) fn from_json(value: Value) -> Result<Self, &'static str> {
        let Value::Object(mut object) = value else {
            return Err("The request must be one JSON object; batches are not supported");
        };
        let mut take = |key: &str| object.remove(key).filter(|value| !value.is_null());
        Ok(Self {
            query: match take("query") {
                Some(Value::String(query)) => query,
                _ => return Err("The parameter query must be a string"),
            },
            operation_name: match take("operationName") {
                None => None,
                Some(Value::String(name)) => Some(name),
                Some(_) => return Err("The parameter operationName must be a string"),
            },
            variables: match take("variables") {
                None => Map::new(),
                Some(Value::Object(variables)) => variables,
                Some(_) => return Err("The parameter variables must be an object"),
            },
            extensions: match take("extensions") {
                None => Map::new(),
                Some(Value::Object(extensions)) => extensions,
                Some(_) => return Err("The parameter extensions must be an object"),
            },
        })
    }
}

/// An operation that has passed the gate.
pub(crate) struct Operation {
    /// What the executor gets, with the parsed document and, in its data, the note beside it.
    pub(crate) request: Request,
    /// What the selected operation is.
    pub(crate) kind: OperationType,
}

/// Parses, measures and selects the operation; `data` is what the program has for it.
///
/// # Errors
/// A request error with its code: execution has not begun.
pub(crate) fn prepare(
    params: Params,
    mut data: Data,
    documents: &Documents,
    limits: &GateLimits,
) -> Result<Operation, ServerError> {
    let Admitted {
        document,
        validated,
    } = documents.admit(&params.query, limits)?;
    let variables = variables(params.variables)?;
    let operation = select(&document, params.operation_name.as_deref())?;
    check_required(operation, &variables)?;
    let kind = operation.ty;
    let mut request = Request::new(params.query).variables(variables);
    request.operation_name = params.operation_name;
    request.extensions.0 = params
        .extensions
        .into_iter()
        .filter_map(|(key, value)| Some((key, GraphqlValue::from_json(value).ok()?)))
        .collect();
    request.set_parsed_query(ExecutableDocument::clone(&document));
    data.insert(validated);
    request.data = data;
    Ok(Operation { request, kind })
}

/// `Variables::from_json` turns what it cannot read into no variables at all.
fn variables(map: Map<String, Value>) -> Result<Variables, ServerError> {
    GraphqlValue::from_json(Value::Object(map))
        .map(Variables::from_value)
        .map_err(|_| coded(code::BAD_USER_INPUT, "The variables cannot be read", None))
}

/// GraphQL specification 6.1, `GetOperation`.
fn select<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Result<&'a OperationDefinition, ServerError> {
    let fail = |message| Err(coded(code::OPERATION_RESOLUTION_FAILURE, message, None));
    let mut operations = document.operations.iter();
    let found = match name {
        Some(name) => operations.find(|(own, _)| own.is_some_and(|own| own == name)),
        None if operations.len() > 1 => {
            return fail("The document has several operations: operationName is required".into());
        }
        None => operations.next(),
    };
    match (found, name) {
        (Some((_, operation)), _) => Ok(&operation.node),
        (None, name) => fail(format!(
            "The document has no operation named \"{}\"",
            name.unwrap_or_default()
        )),
    }
}

/// GraphQL specification 6.1.2: a variable of a non-null type without default must be given.
fn check_required(
    operation: &OperationDefinition,
    variables: &Variables,
) -> Result<(), ServerError> {
    for definition in &operation.variable_definitions {
        let name = &definition.node.name.node;
        let kind = &definition.node.var_type.node;
        let given = variables.get(name);
        let absent = given.is_none() && definition.node.default_value.is_none();
        if !kind.nullable && (absent || given == Some(&GraphqlValue::Null)) {
            return Err(coded(
                code::BAD_USER_INPUT,
                format!("The variable \"${name}\" of type \"{kind}\" must have a value"),
                Some(definition.pos),
            ));
        }
    }
    Ok(())
}
