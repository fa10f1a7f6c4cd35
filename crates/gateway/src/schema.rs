//! The schema: the nouns put together, and its text.

use async_graphql::{
    MergedObject, MergedSubscription, SDLExportOptions, Schema, SchemaBuilder, ValidationMode,
};

use crate::{
    account::{AccountMutation, AccountQuery},
    application::{ApplicationMutation, ApplicationQuery},
    chat::{ChatMutation, ChatQuery},
    domain::{DomainMutation, DomainQuery},
    endpoint::{EndpointMutation, EndpointQuery},
    endpoint_token::EndpointTokenMutation,
    event::{EventQuery, EventSubscription},
    message::{MessageMutation, MessageQuery},
    node::NodeQuery,
    registration::{RegistrationMutation, RegistrationQuery},
    sip_profile::{SipProfileMutation, SipProfileQuery},
    token::{TokenMutation, TokenQuery},
    transformation::TransformationQuery,
};

/// The schema of sipgraph.
pub(crate) type SipgraphSchema = Schema<Query, Mutation, Subscription>;

/// What can be read. An object that is not there, or that the token may not see, is null with the error `NOT_FOUND`; one
/// failing field does not take its siblings with it.
#[derive(Default, MergedObject)]
pub(crate) struct Query(
    AccountQuery,
    NodeQuery,
    EndpointQuery,
    DomainQuery,
    ApplicationQuery,
    MessageQuery,
    ChatQuery,
    EventQuery,
    TokenQuery,
    TransformationQuery,
    RegistrationQuery,
    SipProfileQuery,
);

/// What can be changed. Each mutation has one input and one payload with `userErrors`: all that the caller can mend, when
/// nothing was stored. A payload is null exactly when there is a top-level error for its field. With an `idempotencyKey` a
/// mutation is safe to repeat.
#[derive(Default, MergedObject)]
pub(crate) struct Mutation(
    DomainMutation,
    ApplicationMutation,
    EndpointMutation,
    MessageMutation,
    ChatMutation,
    TokenMutation,
    EndpointTokenMutation,
    RegistrationMutation,
    AccountMutation,
    SipProfileMutation,
);

/// What can be followed, over a WebSocket with the sub-protocol graphql-transport-ws.
#[derive(Default, MergedSubscription)]
pub(crate) struct Subscription(EventSubscription);

/// Begins to build the schema. What a document may cost is checked by the transport's gate; the limits of `async_graphql` expand
/// what they measure.
pub(crate) fn builder() -> SchemaBuilder<Query, Mutation, Subscription> {
    Schema::build(
        Query::default(),
        Mutation::default(),
        Subscription::default(),
    )
    .with_sorted_fields()
    .with_sorted_enums()
}

/// Builds the schema for operations that [`crate::validation`] has checked.
pub(crate) fn build() -> SipgraphSchema {
    builder().validation_mode(ValidationMode::Fast).finish()
}

/// Returns the schema definition, sorted, as the live introspection shows it.
#[must_use]
pub fn sdl() -> String {
    let options = SDLExportOptions::new()
        .sorted_fields()
        .sorted_arguments()
        .sorted_enum_items()
        .include_specified_by()
        .use_space_ident();
    without_built_in_directives(&build().sdl_with_options(options))
}

/// Tools that read the file know these directives, and some refuse a second definition.
fn without_built_in_directives(text: &str) -> String {
    const BUILT_IN: [&str; 5] = ["deprecated", "include", "oneOf", "skip", "specifiedBy"];
    let mut kept = String::with_capacity(text.len());
    // A description belongs to the definition below it.
    let mut description = String::new();
    let mut inside = false;
    for line in text.lines() {
        let fence = line == "\"\"\"";
        if fence || inside {
            description.push_str(line);
            description.push('\n');
            inside ^= fence;
            continue;
        }
        let name = line.strip_prefix("directive @");
        let name = name.and_then(|rest| rest.split(['(', ' ']).next());
        if name.is_some_and(|name| BUILT_IN.contains(&name)) {
            description.clear();
            continue;
        }
        kept.push_str(&std::mem::take(&mut description));
        kept.push_str(line);
        kept.push('\n');
    }
    kept
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use async_graphql::parser::{
        parse_schema,
        types::{FieldDefinition, InputValueDefinition, TypeKind, TypeSystemDefinition},
    };
    use serde_json::Value;

    use super::*;

    /// All that clients can see of the schema, with descriptions.
    const INTROSPECTION: &str = "{__schema{queryType{name} types{kind name description specifiedByURL isOneOf
        fields(includeDeprecated:true){name description type{...T} args(includeDeprecated:true){...I}}
        inputFields(includeDeprecated:true){...I} interfaces{name} possibleTypes{name}
        enumValues(includeDeprecated:true){name description}}}}
        fragment I on __InputValue{name description type{...T} defaultValue}
        fragment T on __Type{kind name ofType{kind name ofType{kind name ofType{kind name}}}}";

    async fn types() -> Vec<Value> {
        let response = build().execute(INTROSPECTION).await;
        assert!(response.errors.is_empty(), "{:?}", response.errors);
        let data = response.data.into_json().unwrap();
        let types = data["__schema"]["types"].as_array().unwrap();
        types
            .iter()
            .filter(|ty| !name(ty).starts_with("__"))
            .cloned()
            .collect()
    }

    fn name(of: &Value) -> &str {
        of["name"].as_str().unwrap()
    }

    fn each<'a>(of: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
        of[list].as_array().into_iter().flatten()
    }

    fn type_text(ty: &Value) -> String {
        match ty["kind"].as_str() {
            Some("NON_NULL") => format!("{}!", type_text(&ty["ofType"])),
            Some("LIST") => format!("[{}]", type_text(&ty["ofType"])),
            _ => name(ty).to_owned(),
        }
    }

    #[tokio::test]
    async fn everything_has_a_description() {
        let mut missing = Vec::new();
        let mut look = |path: String, of: &Value| {
            if of["description"]
                .as_str()
                .is_none_or(|text| text.trim().is_empty())
            {
                missing.push(path);
            }
        };
        for ty in &types().await {
            let type_name = name(ty);
            // The library's own; the specification describes it.
            if type_name != "ID" {
                look(type_name.to_owned(), ty);
            }
            for list in ["fields", "inputFields", "enumValues"] {
                for member in each(ty, list) {
                    let path = format!("{type_name}.{}", name(member));
                    look(path.clone(), member);
                    for argument in each(member, "args") {
                        look(format!("{path}({})", name(argument)), argument);
                    }
                }
            }
        }
        assert_eq!(missing, [""; 0]);
    }

    #[tokio::test]
    async fn the_text_is_what_introspection_shows() {
        let mut live = BTreeSet::new();
        for ty in &types().await {
            let type_name = name(ty);
            if ["Int", "Float", "String", "Boolean", "ID"].contains(&type_name) {
                continue;
            }
            let one_of = ty["isOneOf"].as_bool() == Some(true);
            let url = ty["specifiedByURL"].as_str().unwrap_or_default();
            live.insert(format!(
                "{} {type_name} {one_of} {url}",
                ty["kind"].as_str().unwrap()
            ));
            for member in each(ty, "fields") {
                let field = format!("{type_name}.{}", name(member));
                live.insert(format!("{field}: {}", type_text(&member["type"])));
                live.extend(each(member, "args").map(|input| input_text(&field, input)));
            }
            live.extend(each(ty, "inputFields").map(|input| input_text(type_name, input)));
            live.extend(each(ty, "enumValues").map(|v| format!("{type_name}.{}", name(v))));
            live.extend(each(ty, "interfaces").map(|i| format!("{type_name}: {}", name(i))));
        }
        let text = written();
        let differences: Vec<_> = live.symmetric_difference(&text).collect();
        assert!(differences.is_empty(), "{differences:#?}");
        assert_eq!(sdl(), sdl(), "the text is the same each time");
        assert!(
            !sdl().contains("\ndirective @"),
            "built-in directives are left out"
        );
    }

    fn input_text(path: &str, input: &Value) -> String {
        let default = input["defaultValue"].as_str().unwrap_or_default();
        format!(
            "{path}.{}: {} = {default}",
            name(input),
            type_text(&input["type"])
        )
    }

    fn written() -> BTreeSet<String> {
        let mut text = BTreeSet::new();
        for definition in parse_schema(sdl()).unwrap().definitions {
            let TypeSystemDefinition::Type(ty) = definition else {
                continue;
            };
            let ty = ty.node;
            let type_name = ty.name.node.as_str();
            let directive = |name: &str| ty.directives.iter().find(|d| d.node.name.node == name);
            let one_of = directive("oneOf").is_some();
            let url = directive("specifiedBy").map_or(String::new(), |d| {
                match &d.node.arguments[0].1.node {
                    async_graphql::Value::String(url) => url.clone(),
                    other => other.to_string(),
                }
            });
            let (kind, fields, inputs, values, interfaces) = match &ty.kind {
                TypeKind::Scalar => ("SCALAR", &[][..], &[][..], &[][..], &[][..]),
                TypeKind::Object(o) => {
                    ("OBJECT", &o.fields[..], &[][..], &[][..], &o.implements[..])
                }
                TypeKind::Interface(i) => (
                    "INTERFACE",
                    &i.fields[..],
                    &[][..],
                    &[][..],
                    &i.implements[..],
                ),
                TypeKind::Enum(e) => ("ENUM", &[][..], &[][..], &e.values[..], &[][..]),
                TypeKind::InputObject(i) => {
                    ("INPUT_OBJECT", &[][..], &i.fields[..], &[][..], &[][..])
                }
                TypeKind::Union(_) => panic!("{type_name}: there are no unions"),
            };
            text.insert(format!("{kind} {type_name} {one_of} {url}"));
            for field in fields {
                let FieldDefinition {
                    name,
                    arguments,
                    ty,
                    ..
                } = &field.node;
                let path = format!("{type_name}.{}", name.node);
                text.insert(format!("{path}: {}", ty.node));
                text.extend(
                    arguments
                        .iter()
                        .map(|input| written_input(&path, &input.node)),
                );
            }
            text.extend(
                inputs
                    .iter()
                    .map(|input| written_input(type_name, &input.node)),
            );
            text.extend(
                values
                    .iter()
                    .map(|v| format!("{type_name}.{}", v.node.value.node)),
            );
            text.extend(
                interfaces
                    .iter()
                    .map(|i| format!("{type_name}: {}", i.node)),
            );
        }
        text
    }

    fn written_input(path: &str, input: &InputValueDefinition) -> String {
        let default = input
            .default_value
            .as_ref()
            .map(|value| value.node.to_string());
        let default = default.unwrap_or_default();
        format!("{path}.{}: {} = {default}", input.name.node, input.ty.node)
    }

    /// What `node` can be, and what an event can be: a client's generated types depend on it.
    #[tokio::test]
    async fn interfaces_have_all_their_types() {
        let types = types().await;
        let possible = |interface: &str| -> Vec<String> {
            let ty = types.iter().find(|ty| name(ty) == interface).unwrap();
            each(ty, "possibleTypes")
                .map(|ty| name(ty).to_owned())
                .collect()
        };
        assert_eq!(
            possible("Node"),
            [
                "Account",
                "ApiToken",
                "Application",
                "Chat",
                "Domain",
                "Endpoint",
                "Message"
            ]
        );
        assert_eq!(possible("Event").len(), 17);
    }
}
