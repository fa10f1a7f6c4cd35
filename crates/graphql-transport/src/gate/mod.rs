//! The document gate: bounds a document and settles its roots before the executor sees it.
//!
//! `async_graphql` has limits of its own, but its visitors expand every spread before they compare
//! with one: 22 fragments that each spread the next twice, 815 bytes, kept it busy for 18 seconds.
//! Here each fragment is measured once, so that the time is linear in the document. What passes is
//! small even when expanded, and the rules after the measure may expand it.
//!
//! It knows no schema. A document that is wrong for the schema passes, the executor refuses it.

mod cost;
mod lexer;
mod merge;
mod roots;

use async_graphql::{
    ServerError,
    parser::{self, parse_query, types::ExecutableDocument},
};

use crate::{GateLimits, code, coded};

/// Parses a document, refuses one that costs too much, and merges equal root fields.
///
/// # Errors
/// `GRAPHQL_PARSE_FAILED`, `QUERY_TOO_COMPLEX` or `GRAPHQL_VALIDATION_FAILED`.
pub(crate) fn admit(source: &str, limits: &GateLimits) -> Result<ExecutableDocument, ServerError> {
    lexer::check(source, limits)?;
    let mut document = parse_query(source).map_err(parse_error)?;
    cost::check(&document, limits)?;
    merge::check(&document)?;
    roots::settle(&mut document, limits)?;
    Ok(document)
}

/// The parser's own text repeats the whole line of the query; the place is in `locations`.
fn parse_error(error: parser::Error) -> ServerError {
    let text = error.to_string();
    let reason = text
        .rsplit_once("= ")
        .map_or(text.as_str(), |(_, reason)| reason);
    let mut answer = coded(
        code::GRAPHQL_PARSE_FAILED,
        format!("Syntax error: {reason}"),
        None,
    );
    answer.locations = error.positions().collect();
    answer
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write, time::Instant};

    use super::*;

    #[track_caller]
    fn refused(source: &str, code: &str, part: &str) {
        let error = admit(source, &GateLimits::default()).expect_err(source);
        let found = error
            .extensions
            .as_ref()
            .and_then(|e| e.get("code"))
            .cloned();
        assert_eq!(found, Some(code.into()), "{source}");
        assert!(error.message.contains(part), "{}: {source}", error.message);
    }

    #[track_caller]
    fn passes(source: &str) -> ExecutableDocument {
        admit(source, &GateLimits::default()).expect(source)
    }

    #[track_caller]
    fn becomes(source: &str, expected: &str) {
        let limits = GateLimits::default();
        let keys = |document: &ExecutableDocument| {
            let mut out = String::new();
            for (_, operation) in document.operations.iter() {
                print(&operation.node.selection_set.node, &mut out);
            }
            let mut names: Vec<_> = document.fragments.keys().map(|n| n.to_string()).collect();
            names.sort();
            out + &names.join(" ")
        };
        let document = admit(source, &limits).expect(source);
        assert_eq!(keys(&document), expected, "{source}");
    }

    fn print(set: &parser::types::SelectionSet, out: &mut String) {
        use parser::types::Selection;
        out.push('{');
        for item in &set.items {
            match &item.node {
                Selection::Field(field) => {
                    out.push_str(&field.node.response_key().node);
                    if !field.node.selection_set.node.items.is_empty() {
                        print(&field.node.selection_set.node, out);
                    }
                }
                Selection::InlineFragment(fragment) => {
                    out.push_str("...");
                    print(&fragment.node.selection_set.node, out);
                }
                Selection::FragmentSpread(spread) => {
                    let _ = write!(out, "...{}", spread.node.fragment_name.node);
                }
            }
            out.push(' ');
        }
        out.push('}');
    }

    #[test]
    fn a_fragment_bomb_is_refused_in_linear_time() {
        let mut source = String::from("{...F0}");
        for n in 0..400 {
            let _ = write!(source, "fragment F{n} on Q{{...F{} ...F{}}}", n + 1, n + 1);
        }
        source.push_str("fragment F400 on Q{a}");
        let begin = Instant::now();
        refused(&source, code::QUERY_TOO_COMPLEX, "fields");
        assert!(begin.elapsed().as_secs() < 2, "{:?}", begin.elapsed());
    }

    #[test]
    fn unknown_fragments_are_refused_before_anything_expands() {
        let mut source = String::from("{...F0}");
        for n in 0..40 {
            let _ = write!(source, "fragment F{n} on Q{{...F{} ...F{}}}", n + 1, n + 1);
        }
        source.push_str("fragment F40 on Q{...Nope ...Nope}");
        let begin = Instant::now();
        refused(&source, code::GRAPHQL_VALIDATION_FAILED, "\"Nope\"");
        assert!(begin.elapsed().as_secs() < 2, "{:?}", begin.elapsed());
        for source in [
            "{a} fragment A on Q{...Nope}",
            "mutation{...Nope}",
            "subscription{a ...Nope}",
        ] {
            let error = admit(source, &GateLimits::default()).expect_err(source);
            assert!(error.message.contains("ragment"), "{}", error.message);
        }
    }

    #[test]
    fn an_unused_fragment_bomb_is_refused() {
        refused(
            "{a} fragment A on Q{...B ...B} fragment B on Q{b}",
            code::GRAPHQL_VALIDATION_FAILED,
            "never used",
        );
    }

    #[test]
    fn cycles_are_refused() {
        refused(
            "{...A} fragment A on Q{b{...B}} fragment B on Q{...A}",
            code::GRAPHQL_VALIDATION_FAILED,
            "cycle",
        );
    }

    #[test]
    fn limits_are_inclusive() {
        let fields = |n: usize| format!("{{{}}}", "a ".repeat(n));
        passes(&fields(1000));
        refused(&fields(1001), code::QUERY_TOO_COMPLEX, "fields");
        let deep = |n: usize| format!("{}a{}", "{a".repeat(n - 1) + "{", "}".repeat(n));
        passes(&deep(15));
        refused(&deep(16), code::QUERY_TOO_COMPLEX, "deep");
        let aliases = |n: usize| {
            (0..n).fold(String::from("{"), |mut s, i| {
                let _ = write!(s, "a{i}:b ");
                s
            }) + "}"
        };
        passes(&aliases(30));
        refused(&aliases(31), code::QUERY_TOO_COMPLEX, "aliases");
        let inline = |n: usize| format!("{{{}}}", "...{a}".repeat(n));
        let spread = |n: usize| format!("{{{}}} fragment F on Q{{a}}", "...F ".repeat(n));
        for fragments in [inline, spread] {
            let limits = GateLimits {
                fragments_max: 10,
                ..GateLimits::default()
            };
            admit(&fragments(10), &limits).expect("ten are allowed");
            let error = admit(&fragments(11), &limits).expect_err("eleven are not");
            assert!(error.message.contains("fragments"), "{}", error.message);
        }
        let directives = |n: usize| format!("{{a {}}}", "@d ".repeat(n));
        passes(&directives(50));
        refused(&directives(51), code::QUERY_TOO_COMPLEX, "directives");
        refused(&fields(5000), code::QUERY_TOO_COMPLEX, "tokens");
        for open in ["{a(x:", "{a(x:[", "{a(x:{b:"] {
            let nested = open.to_owned() + &"[".repeat(2000);
            refused(&nested, code::QUERY_TOO_COMPLEX, "brackets");
        }
    }

    #[test]
    fn introspection_multiplies_twice_at_most() {
        passes("{__schema{types{fields{type{fields{name}}}}}}");
        refused(
            "{__schema{types{fields{type{fields{type{fields{name}}}}}}}}",
            code::QUERY_TOO_COMPLEX,
            "introspection",
        );
        passes("{fields{fields{fields{fields}}}}");
    }

    #[test]
    fn strings_and_comments_are_not_counted_inside() {
        let long = "{ ( [ ".repeat(3000);
        passes(&format!("{{a(x:\"{long}\")}}"));
        passes(&format!("{{a(x:\"\"\"{long}\\\"\"\" \" \"\"\")}}"));
        passes(&format!("{{a}} # {long}\n"));
    }

    #[test]
    fn input_field_names_are_unique() {
        for source in [
            "{a(x:{b:1 b:2})}",
            "{a(x:{b:[{c:1,c:1}]})}",
            "query($v:I={b:1 b:1}){a(x:$v)}",
        ] {
            refused(source, code::GRAPHQL_VALIDATION_FAILED, "input field");
        }
        passes("{a(x:{b:b c:{b:1} d:[{b:1} {b:2}]})}");
    }

    #[test]
    fn syntax_errors_do_not_repeat_the_query() {
        refused("{a", code::GRAPHQL_PARSE_FAILED, "Syntax error: expected");
        refused("", code::GRAPHQL_PARSE_FAILED, "Syntax error");
        refused("{a(b:\"", code::GRAPHQL_PARSE_FAILED, "Syntax error");
    }

    #[test]
    fn fields_of_one_key_must_merge() {
        for source in [
            "{a:b ...on Q{a:c}}",
            "{...on Q{a:c} a:b}",
            "{a(x:1) ...on Q{a(x:2)}}",
            "{...on Q{a:b} ...on Q{a:c}}",
            "{...F a:b} fragment F on Q{a:c}",
            "{n{a:b} ...on Q{n{a:c}}}",
            "{n{...{a:b}} n{...on N{a:c}}}",
            "{a:b ...@include(if:true){a:c}}",
        ] {
            refused(source, code::GRAPHQL_VALIDATION_FAILED, "conflict");
        }
        passes("{a ...on Q{a}}");
        passes("{a(x:1 y:2) ...on Q{a(y:2 x:1)}}");
        passes("{...on A{x:a} ...on B{x:b}}");
        passes("{...on A{n{x:a}} ...on B{n{x:b}}}");
    }

    #[test]
    fn equal_mutation_roots_become_one() {
        becomes("mutation{a(x:1){b} a(x:1){c}}", "{a{b c } }");
        becomes(
            "mutation{...F a{c}} fragment F on Mutation{a{b}}",
            "{a{b c } }",
        );
        becomes("mutation{a{b} ...on Mutation{a{c} d}}", "{a{b c } d }");
        becomes("mutation{a @include(if:true) b}", "{a b }");
        becomes("mutation{...F b} fragment F on Mutation{a}", "{...F b }F");
        becomes(
            "mutation{...F a{...G}} fragment F on Mutation{a{...G}} fragment G on P{b}",
            "{a{...G ...G } }G",
        );
        for source in [
            "mutation{a a @include(if:true)}",
            "mutation{a ...@skip(if:false){a}}",
            "mutation{a ...F@skip(if:false)} fragment F on Mutation{a}",
        ] {
            refused(source, code::GRAPHQL_VALIDATION_FAILED, "once");
        }
        refused(
            "mutation{a ...on Node{a}}",
            code::GRAPHQL_VALIDATION_FAILED,
            "Mutation",
        );
    }

    #[test]
    fn a_subscription_has_one_root() {
        becomes(
            "subscription{...F} fragment F on Subscription{a{b}}",
            "{a{b } }",
        );
        becomes("subscription{a{b} ...{a{c}}}", "{a{b c } }");
        for source in ["subscription{a b}", "subscription{a ...on Subscription{b}}"] {
            refused(source, code::GRAPHQL_VALIDATION_FAILED, "one root field");
        }
        refused(
            "subscription{__typename}",
            code::GRAPHQL_VALIDATION_FAILED,
            "introspection",
        );
        refused(
            "subscription($s:Boolean!){a @skip(if:$s)}",
            code::GRAPHQL_VALIDATION_FAILED,
            "@skip",
        );
    }
}
