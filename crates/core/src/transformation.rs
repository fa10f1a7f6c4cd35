//! Transformations: ordered rules that change, pass or reject a telephone number.
//!
//! `CarrierX` has the same kinds of rules; its `lookup` asks a foreign service and is refused here. Patterns are those of
//! the crate `regex`, which runs in time linear in the number, whatever the pattern. This module knows rules and
//! numbers only: who keeps the rules and when they apply is decided by those who route.

use crate::error::{Problem, ProblemDetail};
use regex::{Regex, RegexBuilder};
use std::fmt;

/// The most rules of one list; a number goes through each of them.
pub const RULES_MAX: usize = 32;
/// The longest pattern, in characters.
pub const PATTERN_MAX: usize = 256;
/// The longest number, before and after a rule, in characters; as long as the user part of an address.
pub const NUMBER_MAX: usize = 128;
/// The most that one pattern may become when it is compiled, in bytes. `\d{1,15}` takes 2 KiB; `(a{99}){99}` passes it.
const COMPILED_BYTES_MAX: usize = 64 * 1024;
/// How deep groups may stand in groups; the parser recurses.
const NESTING_MAX: u32 = 16;

/// One rule. Rules are applied in order, each to what the one before made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Replaces each match of the pattern.
    Rewrite {
        /// What is replaced.
        pattern: String,
        /// What takes its place: `$0` is the whole match, `$1` to `$9` its groups, `${name}` a named group or one with
        /// more digits, `$$` a dollar sign.
        replace: String,
    },
    /// Takes a number in place of the one given.
    Set {
        /// The number.
        value: String,
    },
    /// Lets the rules behind it apply only when the pattern matches.
    Condition {
        /// What must match.
        pattern: String,
        /// Whether it must not match instead.
        negate: bool,
    },
    /// Rejects the number when the pattern matches.
    Reject {
        /// What is rejected.
        pattern: String,
    },
}

impl Rule {
    /// Returns the rule's name in the API.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rewrite { .. } => "rewrite",
            Self::Set { .. } => "set",
            Self::Condition { .. } => "condition",
            Self::Reject { .. } => "reject",
        }
    }
}

/// A rule as a caller gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GivenRule {
    /// One that is kept and applied.
    Rule(Rule),
    /// `CarrierX`'s rule that asks a foreign service; refused together with all else that is wrong.
    Lookup,
}

impl GivenRule {
    /// Returns the rule; `None` for one that is refused.
    #[must_use]
    pub fn rule(&self) -> Option<&Rule> {
        match self {
            Self::Rule(rule) => Some(rule),
            Self::Lookup => None,
        }
    }
}

/// Rules ready to be applied.
#[derive(Debug, Clone, Default)]
pub struct Transformations(Vec<Compiled>);

#[derive(Debug, Clone)]
enum Compiled {
    Rewrite(Regex, Vec<Part>),
    Set(String),
    Condition { pattern: Regex, negate: bool },
    Reject(Regex),
}

/// A piece of what takes the place of a match.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The number of a group of the pattern.
    Group(usize),
}

/// What became of a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transformed {
    /// The number behind the last rule that applied; `None` when it was rejected.
    pub result: Option<String>,
    /// What each rule did, in order, up to the one that ended it.
    pub steps: Vec<Step>,
}

/// What one rule did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The rule's place, from 0.
    pub index: usize,
    /// The rule's name.
    pub rule: &'static str,
    /// What it did.
    pub effect: Effect,
}

/// What a rule did to a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// It made another number of it.
    Changed {
        /// The number before.
        from: String,
        /// The number after.
        to: String,
    },
    /// It left it as it was.
    Kept(String),
    /// A condition did not hold: the rules behind it do not apply.
    Ended(String),
    /// It rejected it.
    Rejected(String),
    /// It made something that is no number: nothing, or more than [`NUMBER_MAX`] characters.
    Unfit(String),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.index, self.rule)?;
        match &self.effect {
            Effect::Changed { from, to } => write!(f, "{from} becomes {to}"),
            Effect::Kept(number) => write!(f, "{number} goes on"),
            Effect::Ended(number) => {
                write!(f, "does not hold, {number} skips the rules behind it")
            }
            Effect::Rejected(number) => write!(f, "{number} is rejected"),
            Effect::Unfit(number) => write!(
                f,
                "{number} is rejected, because nothing or more than {NUMBER_MAX} characters would be left of it"
            ),
        }
    }
}

impl Transformations {
    /// Checks rules and prepares them; `field` is the path to the list, for problems.
    ///
    /// # Errors
    /// All that is wrong with them, each at the index of its rule.
    pub fn compile(field: &str, rules: &[Rule]) -> Result<Self, Vec<Problem>> {
        Self::compile_each(field, rules.iter().map(Some))
    }

    /// Checks rules as a caller gives them and prepares them, as [`Transformations::compile`].
    ///
    /// # Errors
    /// All that is wrong with them, each at the index of its rule.
    pub fn compile_given(field: &str, rules: &[GivenRule]) -> Result<Self, Vec<Problem>> {
        Self::compile_each(field, rules.iter().map(GivenRule::rule))
    }

    fn compile_each<'r>(
        field: &str,
        rules: impl ExactSizeIterator<Item = Option<&'r Rule>>,
    ) -> Result<Self, Vec<Problem>> {
        if rules.len() > RULES_MAX {
            return Err(vec![limit(field, "rules", RULES_MAX, rules.len())]);
        }
        let mut problems = Vec::new();
        let mut compiled = Vec::with_capacity(rules.len());
        for (index, rule) in rules.enumerate() {
            let Some(rule) = rule else {
                problems.push(lookup_refused(&format!("{field}.{index}.rule.lookup")));
                continue;
            };
            let field = format!("{field}.{index}.rule.{}", rule.name());
            match Compiled::of(&field, rule) {
                Ok(rule) => compiled.push(rule),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() {
            Ok(Self(compiled))
        } else {
            Err(problems)
        }
    }

    /// Applies the rules to a number that [`number`] accepts.
    #[must_use]
    pub fn apply(&self, given: &str) -> Transformed {
        let mut number = given.to_owned();
        let mut steps = Vec::with_capacity(self.0.len());
        for (index, rule) in self.0.iter().enumerate() {
            let (name, effect) = rule.apply(&number);
            let next = match &effect {
                Effect::Changed { to, .. } => Some(to.clone()),
                Effect::Kept(_) => None,
                Effect::Ended(_) | Effect::Rejected(_) | Effect::Unfit(_) => {
                    let is_rejected = !matches!(effect, Effect::Ended(_));
                    steps.push(Step {
                        index,
                        rule: name,
                        effect,
                    });
                    return Transformed {
                        result: (!is_rejected).then_some(number),
                        steps,
                    };
                }
            };
            steps.push(Step {
                index,
                rule: name,
                effect,
            });
            number = next.unwrap_or(number);
        }
        Transformed {
            result: Some(number),
            steps,
        }
    }
}

impl Compiled {
    fn of(field: &str, rule: &Rule) -> Result<Self, Problem> {
        Ok(match rule {
            Rule::Rewrite {
                pattern: text,
                replace,
            } => {
                let pattern = pattern(&format!("{field}.pattern"), text)?;
                let parts = parts(&format!("{field}.replace"), replace, &pattern)?;
                Self::Rewrite(pattern, parts)
            }
            Rule::Set { value } => {
                number(&format!("{field}.value"), value)?;
                Self::Set(value.clone())
            }
            Rule::Condition {
                pattern: text,
                negate,
            } => Self::Condition {
                pattern: pattern(&format!("{field}.pattern"), text)?,
                negate: *negate,
            },
            Rule::Reject { pattern: text } => {
                Self::Reject(pattern(&format!("{field}.pattern"), text)?)
            }
        })
    }

    fn apply(&self, number: &str) -> (&'static str, Effect) {
        match self {
            Self::Rewrite(pattern, parts) => ("rewrite", rewrite(pattern, parts, number)),
            Self::Set(value) => ("set", change(number, value.clone())),
            Self::Condition { pattern, negate } => {
                let holds = pattern.is_match(number) != *negate;
                let effect = if holds { Effect::Kept } else { Effect::Ended };
                ("condition", effect(number.to_owned()))
            }
            Self::Reject(pattern) => {
                let is_rejected = pattern.is_match(number);
                let effect = if is_rejected {
                    Effect::Rejected
                } else {
                    Effect::Kept
                };
                ("reject", effect(number.to_owned()))
            }
        }
    }
}

/// Checks that a text can be a number here: 1 to 128 printable ASCII characters without spaces, as the user part of an
/// address or what a caller dials. It need not be E.164 yet: to make it so is what rules are for.
///
/// # Errors
/// What is wrong with it, at `field`.
pub fn number(field: &str, text: &str) -> Result<(), Problem> {
    if let Some((at, c)) = unprintable(text) {
        return Err(Problem::validation(
            field,
            "A number has printable ASCII characters and no spaces.",
        )
        .with_detail(place(text, at, Some(c))));
    }
    if text.is_empty() {
        return Err(Problem::validation(field, "A number must not be empty."));
    }
    if text.len() > NUMBER_MAX {
        return Err(limit(field, "characters", NUMBER_MAX, text.len()));
    }
    Ok(())
}

fn lookup_refused(field: &str) -> Problem {
    Problem::validation(
        field,
        "The rule `lookup` is not supported, because it would ask a foreign service at each number. Rewrite, set, \
         condition and reject are.",
    )
}

fn unprintable(text: &str) -> Option<(usize, char)> {
    text.char_indices().find(|(_, c)| !c.is_ascii_graphic())
}

fn change(from: &str, to: String) -> Effect {
    if from == to {
        Effect::Kept(to)
    } else {
        Effect::Changed {
            from: from.to_owned(),
            to,
        }
    }
}

fn rewrite(pattern: &Regex, parts: &[Part], number: &str) -> Effect {
    let mut out = String::new();
    let mut copied = 0;
    for found in pattern.captures_iter(number) {
        let whole = found.get_match();
        out.push_str(&number[copied..whole.start()]);
        copied = whole.end();
        for part in parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Group(group) => out.push_str(found.get(*group).map_or("", |m| m.as_str())),
            }
        }
        // Looked at here, so that many matches cannot make a long text.
        if out.len() > NUMBER_MAX {
            return Effect::Unfit(number.to_owned());
        }
    }
    out.push_str(&number[copied..]);
    if out.is_empty() || out.len() > NUMBER_MAX {
        return Effect::Unfit(number.to_owned());
    }
    change(number, out)
}

fn pattern(field: &str, text: &str) -> Result<Regex, Problem> {
    let length = text.chars().count();
    if length > PATTERN_MAX {
        return Err(limit(field, "characters", PATTERN_MAX, length));
    }
    if let Some(at) = text.find('\0') {
        return Err(
            Problem::validation(field, "A pattern can't contain the character NUL.")
                .with_detail(place(text, at, None)),
        );
    }
    // The parser alone says where a pattern is wrong.
    let mut parser = regex_syntax::ParserBuilder::new();
    if let Err(error) = parser.nest_limit(NESTING_MAX).build().parse(text) {
        let (reason, at) = match &error {
            regex_syntax::Error::Parse(error) => {
                (error.kind().to_string(), error.span().start.offset)
            }
            regex_syntax::Error::Translate(error) => {
                (error.kind().to_string(), error.span().start.offset)
            }
            other => (other.to_string(), 0),
        };
        let character = text.get(at..).and_then(|rest| rest.chars().next());
        return Err(
            Problem::validation(field, format!("The pattern is wrong: {reason}."))
                .with_detail(place(text, at, character)),
        );
    }
    RegexBuilder::new(text)
        .size_limit(COMPILED_BYTES_MAX)
        .dfa_size_limit(COMPILED_BYTES_MAX)
        .nest_limit(NESTING_MAX)
        .build()
        .map_err(|_| {
            Problem::validation(
                field,
                format!(
                    "The pattern takes more than {} KiB when it is compiled; its repetitions are too large.",
                    COMPILED_BYTES_MAX / 1024
                ),
            )
        })
}

/// Reads what takes the place of a match. The crate's own reading would take `$1a` for a group named `1a`, and replace
/// an unknown group by nothing.
fn parts(field: &str, text: &str, pattern: &Regex) -> Result<Vec<Part>, Problem> {
    let wrong = |at: usize, reason: String| {
        let character = text.get(at..).and_then(|rest| rest.chars().next());
        Problem::validation(field, reason).with_detail(place(text, at, character))
    };
    if let Some((at, _)) = unprintable(text) {
        return Err(wrong(
            at,
            "A replacement has printable ASCII characters and no spaces.".to_owned(),
        ));
    }
    if text.len() > NUMBER_MAX {
        return Err(limit(field, "characters", NUMBER_MAX, text.len()));
    }
    let group = |at: usize, name: &str| {
        let number = match name.parse::<usize>() {
            Ok(number) => Some(number).filter(|number| *number < pattern.captures_len()),
            Err(_) => pattern
                .capture_names()
                .position(|group| group == Some(name)),
        };
        number
            .map(Part::Group)
            .ok_or_else(|| wrong(at, format!("The pattern has no group {name}.")))
    };
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        let at = text.len() - rest.len() + dollar;
        if dollar > 0 {
            parts.push(Part::Text(rest[..dollar].to_owned()));
        }
        let behind = &rest[dollar + 1..];
        rest = if let Some(behind) = behind.strip_prefix('$') {
            parts.push(Part::Text("$".to_owned()));
            behind
        } else if let Some(braced) = behind.strip_prefix('{') {
            let Some((name, behind)) = braced.split_once('}') else {
                return Err(wrong(at, "A ${ is not closed by a }.".to_owned()));
            };
            parts.push(group(at, name)?);
            behind
        } else if behind.starts_with(|c: char| c.is_ascii_digit()) {
            parts.push(group(at, &behind[..1])?);
            &behind[1..]
        } else {
            return Err(wrong(
                at,
                "Behind a $ stands a digit, a name in braces, or another $.".to_owned(),
            ));
        };
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(parts)
}

fn place(text: &str, at: usize, character: Option<char>) -> ProblemDetail {
    let before = text.get(..at).unwrap_or(text);
    ProblemDetail {
        offset: Some(before.encode_utf16().count()),
        byte_offset: Some(at),
        character: character.map(String::from),
        ..ProblemDetail::default()
    }
}

fn limit(field: &str, what: &str, max: usize, actual: usize) -> Problem {
    Problem::validation(
        field,
        format!("At most {max} {what} are allowed, not {actual}."),
    )
    .with_detail(ProblemDetail {
        limit: i64::try_from(max).ok(),
        actual: i64::try_from(actual).ok(),
        ..ProblemDetail::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite(pattern: &str, replace: &str) -> Rule {
        Rule::Rewrite {
            pattern: pattern.into(),
            replace: replace.into(),
        }
    }

    fn set(value: &str) -> Rule {
        Rule::Set {
            value: value.into(),
        }
    }

    fn condition(pattern: &str, negate: bool) -> Rule {
        Rule::Condition {
            pattern: pattern.into(),
            negate,
        }
    }

    fn reject(pattern: &str) -> Rule {
        Rule::Reject {
            pattern: pattern.into(),
        }
    }

    #[track_caller]
    fn becomes(rules: &[Rule], number: &str) -> Option<String> {
        let rules = Transformations::compile("transformations", rules).unwrap();
        rules.apply(number).result
    }

    #[track_caller]
    fn problems(rules: &[Rule]) -> Vec<(String, Option<usize>)> {
        let problems = Transformations::compile("transformations", rules).unwrap_err();
        let place = |problem: &Problem| {
            let detail = problem.detail.as_ref();
            (
                problem.field.join("."),
                detail.and_then(|detail| detail.byte_offset),
            )
        };
        problems.iter().map(place).collect()
    }

    #[test]
    fn h164_rules_apply_in_order() {
        let national = [
            rewrite(r"[ ().-]", ""),
            reject(r"^0900"),
            condition(r"^0", false),
            rewrite(r"^0(\d+)$", "+49$1"),
        ];
        for (number, result) in [
            ("030-1234", Some("+49301234")),
            ("(030)1234", Some("+49301234")),
            ("+4412345", Some("+4412345")),
            ("0900123", None),
        ] {
            assert_eq!(becomes(&national, number).as_deref(), result, "{number}");
        }
        let swapped = [rewrite("1", "2"), rewrite("2", "1")];
        assert_eq!(becomes(&swapped, "12").as_deref(), Some("11"));
        assert_eq!(
            becomes(&[set("+1"), reject("^0")], "0").as_deref(),
            Some("+1")
        );
        assert_eq!(becomes(&[], "anything").as_deref(), Some("anything"));
    }

    #[test]
    fn h164_a_condition_ends_the_rules_but_keeps_the_number() {
        let rules = [condition(r"^\+49", true), set("+1")];
        assert_eq!(becomes(&rules, "+4930").as_deref(), Some("+4930"));
        assert_eq!(becomes(&rules, "+44").as_deref(), Some("+1"));
    }

    #[test]
    fn h164_steps_tell_what_each_rule_did() {
        let rules = [
            rewrite("^00", "+"),
            rewrite("x", "y"),
            condition("^9", false),
            set("1"),
        ];
        let rules = Transformations::compile("", &rules).unwrap();
        let told: Vec<String> = rules
            .apply("0044")
            .steps
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            told,
            [
                "0 rewrite: 0044 becomes +44",
                "1 rewrite: +44 goes on",
                "2 condition: does not hold, +44 skips the rules behind it"
            ]
        );
        let rejected = Transformations::compile("", &[reject("^0"), set("1")]).unwrap();
        let told = rejected.apply("0044");
        assert_eq!(told.result, None);
        assert_eq!(
            told.steps.last().unwrap().to_string(),
            "0 reject: 0044 is rejected"
        );
    }

    #[test]
    fn groups_are_named_by_digits_and_names() {
        for (replace, result) in [
            ("$2$1", "3412"),
            ("$1a", "12a"),
            ("${rest}", "34"),
            ("${1}0", "120"),
            ("$0$0", "12-3412-34"),
            ("x$$1", "x$1"),
        ] {
            let rule = rewrite(r"^(\d\d)-(?P<rest>\d\d)$", replace);
            assert_eq!(
                becomes(&[rule], "12-34").as_deref(),
                Some(result),
                "{replace}"
            );
        }
    }

    #[test]
    fn h164_a_wrong_rule_is_refused_at_its_index_and_place() {
        let rules = [
            set("+1"),
            rewrite("(", ""),
            condition("a**{", false),
            reject(r"\q"),
            rewrite("(a)", "$2"),
            rewrite("a", "${a"),
            rewrite("a", "b$"),
            set(""),
            set("é"),
            rewrite(r"(?=a)", ""),
        ];
        let places = problems(&rules);
        let fields: Vec<&str> = places.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "transformations.1.rule.rewrite.pattern",
                "transformations.2.rule.condition.pattern",
                "transformations.3.rule.reject.pattern",
                "transformations.4.rule.rewrite.replace",
                "transformations.5.rule.rewrite.replace",
                "transformations.6.rule.rewrite.replace",
                "transformations.7.rule.set.value",
                "transformations.8.rule.set.value",
                "transformations.9.rule.rewrite.pattern",
            ]
        );
        assert_eq!(places[0].1, Some(0));
        assert_eq!(places[2].1, Some(0));
        assert_eq!(places[5].1, Some(1));
    }

    #[test]
    fn h164_everything_is_bounded() {
        for wide in [
            "(a{999}){999}",
            r"[\w\W]{900}",
            &"(".repeat(40),
            &"a".repeat(257),
        ] {
            assert_eq!(problems(&[reject(wide)]).len(), 1, "{wide}");
        }
        assert_eq!(problems(&vec![reject("a"); 33])[0].0, "transformations");
        // What takes exponential time where a pattern is tried by going back.
        let long = "a".repeat(NUMBER_MAX - 1) + "b";
        assert_eq!(becomes(&[rewrite("(a+)+$", "")], &long), Some(long.clone()));
        assert_eq!(becomes(&[rewrite("a", "aa")], &long), None);
        assert_eq!(becomes(&[rewrite(".", "")], "1"), None, "nothing is left");
    }

    #[test]
    fn numbers_are_printable_and_bounded() {
        assert!(number("number", "+49(30)1234;ext=1").is_ok());
        for wrong in ["", "1 2", "é", "1\n", &"1".repeat(129)] {
            assert!(number("number", wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn any_pattern_and_number_end() {
        use proptest::prelude::*;
        proptest!(|(pattern in "[ab()*+?|{}0-9,\\[\\]^$\\\\.-]{0,24}", number in "[ab0-9]{1,128}")| {
            if let Ok(rules) = Transformations::compile("", &[rewrite(&pattern, "$0a")]) {
                let result = rules.apply(&number).result;
                prop_assert!(result.is_none_or(|text| (1..=NUMBER_MAX).contains(&text.len())));
            }
        });
    }
}
