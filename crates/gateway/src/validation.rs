//! Whether a request fits the schema, found out in full once for each document.
//!
//! The rules of the specification look at a document and, in one of them, at the values of its variables. `async_graphql` runs
//! all of them for each request. Here they run for the first request with a document; for the next ones only the values are
//! looked at, by their declared types. Whatever can't be seen to fit in this way goes through all of the rules again, which then
//! say what is wrong. What passed is executed by a schema that runs no more rules than it can't be kept from.

use std::{
    any::{Any, TypeId},
    collections::{HashMap, HashSet},
    mem,
    sync::{Arc, OnceLock},
};

use async_graphql::{
    Data, Request, Response, ServerError, ValidationMode, Value, Variables, async_trait,
    extensions::{Extension, ExtensionContext, ExtensionFactory, NextExecute},
    parser::{
        parse_schema,
        types::{
            BaseType, ExecutableDocument, OperationDefinition, Selection, SelectionSet, Type,
            TypeKind, TypeSystemDefinition,
        },
    },
};
use sipgraph_graphql_transport::Validated;

use crate::schema::{SipgraphSchema, builder};

/// Finds out whether requests fit the schema. Clones share what they need for it.
#[derive(Clone, Default)]
pub(crate) struct Validation(Arc<OnceLock<Rules>>);

/// All rules, and the types of inputs. Made for the first request: a server without any needs no second schema in memory.
struct Rules {
    schema: SipgraphSchema,
    inputs: Inputs,
}

impl Validation {
    /// Checks a request whose document is parsed.
    ///
    /// # Errors
    /// All that is wrong with it, as `async_graphql` says it.
    pub(crate) async fn check(&self, request: &mut Request) -> Result<(), Vec<ServerError>> {
        let rules = self.0.get_or_init(Rules::new);
        let validated = validated(&request.data);
        let known = validated.as_ref().is_some_and(Validated::is_noted);
        let variables = mem::take(&mut request.variables);
        let name = request.operation_name.take();
        let document = request.parsed_query().map_err(|error| vec![error])?;
        let operation = selected(document, name.as_deref());
        let fits = known && operation.is_some_and(|of| rules.inputs.fit(document, of, &variables));
        let trial = (!fits).then(|| {
            let mut trial = Request::new(String::new()).variables(variables.clone());
            trial.set_parsed_query(document.clone());
            trial.operation_name = name.clone();
            trial
        });
        request.variables = variables;
        request.operation_name = name;
        let Some(trial) = trial else {
            return Ok(());
        };
        let errors = rules.schema.execute(trial).await.errors;
        if !errors.is_empty() {
            return Err(errors);
        }
        if let Some(validated) = validated {
            validated.note();
        }
        Ok(())
    }
}

fn validated(data: &Data) -> Option<Validated> {
    let value: &(dyn Any + Send + Sync) = &**data.get(&TypeId::of::<Validated>())?;
    value.downcast_ref::<Validated>().cloned()
}

/// The operation that a request selects; the transport has refused one that selects none.
fn selected<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Option<&'a OperationDefinition> {
    let mut operations = document.operations.iter();
    let found = match name {
        Some(name) => operations.find(|(own, _)| own.is_some_and(|own| own == name)),
        None => operations.next(),
    };
    found.map(|(_, operation)| &operation.node)
}

impl Rules {
    fn new() -> Self {
        let schema = builder()
            .validation_mode(ValidationMode::Strict)
            .extension(NoExecution)
            .finish();
        let inputs = Inputs::of(&schema.sdl());
        Self { schema, inputs }
    }
}

/// Ends each operation before its first resolver.
struct NoExecution;

impl ExtensionFactory for NoExecution {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_trait::async_trait]
impl Extension for NoExecution {
    async fn execute(
        &self,
        _ctx: &ExtensionContext<'_>,
        _operation_name: Option<&str>,
        _next: NextExecute<'_>,
    ) -> Response {
        Response::default()
    }
}

/// The types that a variable can have, by their names.
struct Inputs(HashMap<String, Input>);

enum Input {
    /// A scalar of ours: none has values that the rules would refuse.
    Scalar,
    Enum(HashSet<String>),
    Object {
        one_of: bool,
        fields: HashMap<String, InputField>,
    },
}

struct InputField {
    ty: Type,
    /// Not null and without a default.
    is_required: bool,
}

impl Inputs {
    fn of(sdl: &str) -> Self {
        let document = parse_schema(sdl).expect("the text of a schema can be read");
        let inputs = document.definitions.into_iter().filter_map(|definition| {
            let TypeSystemDefinition::Type(definition) = definition else {
                return None;
            };
            let definition = definition.node;
            let one_of = definition
                .directives
                .iter()
                .any(|directive| directive.node.name.node == "oneOf");
            let input = match definition.kind {
                TypeKind::Scalar => Input::Scalar,
                TypeKind::Enum(of) => {
                    let values = of.values.into_iter();
                    Input::Enum(values.map(|v| v.node.value.node.to_string()).collect())
                }
                TypeKind::InputObject(of) => {
                    let fields = of.fields.into_iter().map(|field| {
                        let field = field.node;
                        let is_required = !field.ty.node.nullable && field.default_value.is_none();
                        let ty = field.ty.node;
                        (field.name.node.to_string(), InputField { ty, is_required })
                    });
                    let fields = fields.collect();
                    Input::Object { one_of, fields }
                }
                TypeKind::Object(_) | TypeKind::Interface(_) | TypeKind::Union(_) => return None,
            };
            Some((definition.name.node.to_string(), input))
        });
        Self(inputs.collect())
    }

    /// Returns whether the values of the variables certainly fit: false says nothing.
    fn fit(
        &self,
        document: &ExecutableDocument,
        operation: &OperationDefinition,
        variables: &Variables,
    ) -> bool {
        operation.variable_definitions.iter().all(|definition| {
            let definition = &definition.node;
            let name = definition.name.node.as_str();
            match variables.get(name) {
                None => true,
                // Where a default stands for it, and in an object of which exactly one field is given, null does not fit.
                Some(Value::Null) => {
                    definition.var_type.node.nullable
                        && definition.default_value.is_none()
                        && !is_in_object(document, name)
                }
                Some(value) => self.fits(&definition.var_type.node, value),
            }
        })
    }

    /// The recursion is bounded by the depth of the value, which the reader of JSON bounds.
    fn fits(&self, ty: &Type, value: &Value) -> bool {
        match (&ty.base, value) {
            (_, Value::Null) => ty.nullable,
            (BaseType::List(ty), Value::List(items)) => {
                items.iter().all(|item| self.fits(ty, item))
            }
            // One in place of a list of one is rare; the rules know it.
            (BaseType::List(_), _) => false,
            (BaseType::Named(name), value) => self.is_named(name, value),
        }
    }

    fn is_named(&self, name: &str, value: &Value) -> bool {
        match (name, value) {
            ("ID" | "String", value) => matches!(value, Value::String(_)),
            ("Boolean", value) => matches!(value, Value::Boolean(_)),
            ("Float", value) => matches!(value, Value::Number(_)),
            ("Int", Value::Number(number)) => {
                number.as_i64().is_some_and(|n| i32::try_from(n).is_ok())
            }
            (name, value) => match (self.0.get(name), value) {
                (Some(Input::Scalar), _) => true,
                (Some(Input::Enum(values)), Value::String(name)) => values.contains(name),
                (Some(Input::Object { one_of, fields }), Value::Object(given)) => {
                    let is_one = !one_of || given.len() == 1 && given[0] != Value::Null;
                    let mut required = fields.iter().filter(|(_, field)| field.is_required);
                    is_one
                        && required.all(|(name, _)| given.contains_key(name.as_str()))
                        && given.iter().all(|(name, value)| {
                            let field = fields.get(name.as_str());
                            field.is_some_and(|field| self.fits(&field.ty, value))
                        })
                }
                _ => false,
            },
        }
    }
}

/// Returns whether a variable may stand in an input object of the document.
fn is_in_object(document: &ExecutableDocument, name: &str) -> bool {
    let operations = document.operations.iter();
    let fragments = document.fragments.values();
    let variable = format!("${name}");
    operations
        .map(|(_, operation)| &operation.node.selection_set.node)
        .chain(fragments.map(|fragment| &fragment.node.selection_set.node))
        .any(|set| is_in_object_below(set, &variable))
}

fn is_in_object_below(set: &SelectionSet, variable: &str) -> bool {
    set.items.iter().any(|item| match &item.node {
        Selection::Field(field) => {
            let field = &field.node;
            let mut values = field
                .arguments
                .iter()
                .map(|(_, value)| value.node.to_string());
            values.any(|text| text.contains('{') && text.contains(variable))
                || is_in_object_below(&field.selection_set.node, variable)
        }
        Selection::InlineFragment(inner) => {
            is_in_object_below(&inner.node.selection_set.node, variable)
        }
        Selection::FragmentSpread(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Documents with values of their variables, each with whether the values are seen to fit without the rules.
    fn table() -> Vec<(&'static str, Vec<(serde_json::Value, bool)>)> {
        vec![
            (
                "query($id: ID!, $after: Cursor, $first: Int = 5) { chat(id: $id) { messages(first: $first, after: $after) \
                 { nodes { id } } } }",
                vec![
                    (json!({"id": "a", "after": null}), true),
                    (json!({"id": "a", "after": "b", "first": 7}), true),
                    (json!({"id": "a", "more": 1}), true),
                    (json!({"id": 5, "after": "b"}), false),
                    (json!({"id": "a", "first": null}), false),
                    (json!({"id": "a", "first": "7"}), false),
                    (json!({"id": "a", "first": 7_000_000_000_i64}), false),
                    (json!({"id": "a", "first": 7.5}), false),
                    (json!({"id": null}), false),
                    (json!({"id": ["a"]}), false),
                ],
            ),
            (
                "mutation($input: SendMessageInput!) { sendMessage(input: $input) { message { id } } }",
                vec![
                    (
                        json!({"input": {"to": {"chatId": "a"}, "body": "b", "variables": {"X-A": "b"}}}),
                        true,
                    ),
                    (
                        json!({"input": {"to": {"chatId": "a"}, "body": null}}),
                        true,
                    ),
                    (json!({"input": {"to": {"chatId": "a", "uri": "b"}}}), false),
                    (json!({"input": {"to": {"chatId": null}}}), false),
                    (json!({"input": {"to": {}}}), false),
                    (json!({"input": {"body": "b"}}), false),
                    (
                        json!({"input": {"to": {"chatId": "a"}, "text": "b"}}),
                        false,
                    ),
                    (json!({"input": {"to": {"chatId": "a"}, "body": 5}}), false),
                    (json!({"input": "a"}), false),
                ],
            ),
            (
                "mutation($chat: ID, $body: String) { sendMessage(input: {to: {chatId: $chat}, body: $body}) { replayed } }",
                vec![
                    (json!({"chat": "a", "body": "b"}), true),
                    (json!({"body": "b"}), true),
                    (json!({"chat": null, "body": "b"}), false),
                ],
            ),
            (
                "query($order: EndpointOrder, $enabled: Boolean) { endpoints(orderBy: $order, filter: {enabled: $enabled}) \
                 { nodes { id } } }",
                vec![
                    (
                        json!({"order": {"field": "NAME", "direction": "ASC"}, "enabled": true}),
                        true,
                    ),
                    (
                        json!({"order": {"field": "SIZE", "direction": "ASC"}}),
                        false,
                    ),
                    (json!({"order": {"field": "NAME", "direction": 1}}), false),
                    (json!({"enabled": "true"}), false),
                ],
            ),
            (
                "mutation($codecs: [Codec!]) { updateSipProfile(input: {patch: {defaultCodecs: $codecs}}) { userErrors { code } } }",
                vec![
                    (json!({"codecs": ["OPUS", "PCMU"]}), true),
                    (json!({"codecs": []}), true),
                    (json!({"codecs": "OPUS"}), false),
                    (json!({"codecs": ["OPUS", null]}), false),
                    (json!({"codecs": ["MP3"]}), false),
                ],
            ),
        ]
    }

    fn request(query: &str, variables: &serde_json::Value, note: &Validated) -> Request {
        let variables = Variables::from_json(variables.clone());
        Request::new(query).variables(variables).data(note.clone())
    }

    async fn errors(validation: &Validation, mut request: Request) -> Vec<String> {
        let errors = validation.check(&mut request).await.err();
        let errors = errors.into_iter().flatten();
        errors.map(|error| format!("{error:?}")).collect()
    }

    #[tokio::test]
    async fn a_known_document_is_judged_as_a_new_one() {
        let validation = Validation::default();
        let rules = validation.0.get_or_init(Rules::new);
        for (query, values) in table() {
            let known = Validated::default();
            let first = request(query, &values[0].0, &known);
            assert_eq!(errors(&validation, first).await, [""; 0], "{query}");
            assert!(known.is_noted());
            for (variables, fits) in values {
                let new = request(query, &variables, &Validated::default());
                let again = request(query, &variables, &known);
                let expected = errors(&validation, new).await;
                assert_eq!(errors(&validation, again).await, expected, "{variables}");
                assert!(!fits || expected.is_empty(), "{variables}: {expected:?}");

                let mut asked = request(query, &variables, &known);
                let given = asked.variables.clone();
                let document = asked.parsed_query().unwrap();
                let operation = selected(document, None).unwrap();
                assert_eq!(
                    rules.inputs.fit(document, operation, &given),
                    fits,
                    "{variables}"
                );
            }
        }
    }

    #[tokio::test]
    async fn a_document_that_does_not_fit_is_never_known() {
        let validation = Validation::default();
        let note = Validated::default();
        for _ in 0..2 {
            let wrong = request("{ endpoints { nodes { colour } } }", &json!({}), &note);
            assert_eq!(errors(&validation, wrong).await.len(), 1);
            assert!(!note.is_noted());
        }
    }

    /// The rules must run no resolver: these would panic without a view.
    #[tokio::test]
    async fn nothing_is_executed() {
        let validation = Validation::default();
        for query in [
            "{ endpoints { nodes { id } } }",
            "mutation { deleteEndpoint(input: {id: \"a\"}) { userErrors { code } } }",
            "subscription { events { __typename } }",
        ] {
            let asked = request(query, &json!({}), &Validated::default());
            assert_eq!(errors(&validation, asked).await, [""; 0], "{query}");
        }
    }
}
