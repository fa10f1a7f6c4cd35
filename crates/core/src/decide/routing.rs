//! Routing: where a message goes, and why. The one decision behind `sendMessage`, its dry run and a MESSAGE from a phone.
//!
//! In this order: an endpoint of the account that is named; an endpoint of the account that has the number; a trunk of the
//! account, for who may reach outside; nothing. A foreign host is never relayed to, unless a trunk is named that leads
//! there. It must not know how the facts were read.

use crate::address::{Call, Through};
use crate::decide::Mint;
use crate::decide::delivery::canonical_address;
use crate::delivery::Way;
use crate::endpoint::{AddressDirection, Endpoint, EndpointType, SEND_AS_RANDOM};
use crate::error::{Problem, ProblemCode};
use crate::ports::store::EndpointKey;
use crate::transformation::{Rule, Transformations, number};
use sip_validate::SipUri;

/// The field of a send that names the recipient; refusals about the route stand there.
const TO: &str = "to";

/// What is known about a call.
#[derive(Debug, Clone, Copy)]
pub struct RouteFacts<'f> {
    /// Who sends.
    pub sender: &'f Endpoint,
    /// The endpoint that the call names, if it is there.
    pub named: Option<&'f Endpoint>,
    /// What was dialled, if it is a number or may become one: it stands in a domain of the account, or in none.
    pub dialled: Option<&'f str>,
    /// The endpoint of the account that has the number, after the sender's transformations.
    pub owner: Option<&'f Endpoint>,
    /// The trunks of the account, oldest first.
    pub trunks: &'f [Endpoint],
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination<'f> {
    /// To the contacts of an endpoint of the account.
    Endpoint(&'f Endpoint),
    /// Out through a trunk.
    Trunk(&'f Endpoint, Way),
}

/// A route, and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routed<'f> {
    /// Where the message goes.
    pub destination: Destination<'f>,
    /// The E.164 number that was called, if a number was.
    pub number: Option<String>,
    /// What was looked at, in order, in words for people.
    pub steps: Vec<String>,
}

/// What a list of rules made of a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialled {
    /// The number; `None` when it was rejected.
    pub number: Option<String>,
    /// What each rule did.
    pub steps: Vec<String>,
}

/// Applies an endpoint's transformations to a number, which comes out in E.164 form where it can.
#[must_use]
pub fn transformed(endpoint: &Endpoint, text: &str) -> Dialled {
    let given = e164_or(text);
    let rules: Vec<Rule> = endpoint
        .nested
        .transformations
        .iter()
        .map(|transformation| transformation.rule.clone())
        .collect();
    let whose = &endpoint.name;
    if rules.is_empty() {
        return Dialled {
            number: Some(given),
            steps: Vec::new(),
        };
    }
    // Rules are checked when they are stored: one that no longer compiles lets no number through.
    let Ok(rules) = Transformations::compile("transformations", &rules) else {
        return Dialled {
            number: None,
            steps: vec![format!("the transformations of {whose} can't be applied")],
        };
    };
    let result = rules.apply(&given);
    let steps = result.steps.iter();
    Dialled {
        number: result.result.map(|number| e164_or(&number)),
        steps: steps
            .map(|step| format!("transformation of {whose}: {step}"))
            .collect(),
    }
}

/// Returns the E.164 form of a number, or the text as it is.
fn e164_or(text: &str) -> String {
    sip_validate::e164(text).map_or_else(|_| text.to_owned(), std::borrow::Cow::into_owned)
}

/// Returns whether a text is an E.164 number in its canonical form.
#[must_use]
pub fn is_e164(text: &str) -> bool {
    sip_validate::e164(text).is_ok_and(|number| number == text)
}

/// Returns whether the user part of an address may be a number: it has a digit, and nothing that no telephone has.
#[must_use]
pub fn is_dialable(user: &str) -> bool {
    let is_key = |c: char| c.is_ascii_digit() || "+*#.-()".contains(c);
    user.contains(|c: char| c.is_ascii_digit())
        && user.chars().all(is_key)
        && number(TO, user).is_ok()
}

/// Returns whether a way out leads to what may be a telephone: it answers to a number, and to no address of ours.
#[must_use]
pub fn is_to_telephone(way: &Way) -> bool {
    match way {
        Way::Contacts => false,
        Way::Number(user) => is_dialable(user),
        Way::Uri(uri) => SipUri::parse(uri).is_ok_and(|uri| {
            let user = uri.aor().user;
            user.is_some_and(|user| is_dialable(&user))
        }),
    }
}

/// Returns what a side of a message is known by that has this URI: its E.164 number, else its address.
#[must_use]
pub fn known_by(uri: &str) -> String {
    let address = canonical_address(uri);
    match address.rsplit_once('@') {
        Some((user, _)) if is_e164(user) => user.to_owned(),
        _ => address,
    }
}

/// Returns whom an answer to a message is to that came from this URI: from an endpoint, which may have spoken as a number of its
/// own, or by a trunk from somebody behind it.
#[must_use]
pub fn call_back(sender: &Endpoint, from: &str) -> Call {
    let known_by = known_by(from);
    let is_number = is_e164(&known_by);
    let by_trunk = sender.kind == EndpointType::ThirdParty;
    let own = EndpointKey::Id(sender.id);
    if from == sender.sip_uri() {
        own.into()
    } else if is_number && (by_trunk || sender.numbers.contains(&known_by)) {
        Call::Number(known_by)
    } else if by_trunk {
        Call::Through {
            trunk: own,
            through: Through::Uri(from.to_owned()),
        }
    } else {
        own.into()
    }
}

/// Decides where a call goes.
///
/// # Errors
/// `NotFound` when it names nobody, `EndpointDisabled` for one that is disabled, `NoRoute` when no trunk leads there or, at
/// `from`, when the sender may not reach outside; with the steps up to there.
pub fn route<'f>(
    call: &Call,
    facts: &RouteFacts<'f>,
) -> Result<Routed<'f>, (Problem, Vec<String>)> {
    let mut steps = Vec::new();
    match decide(call, facts, &mut steps) {
        Ok((destination, number)) => Ok(Routed {
            destination,
            number,
            steps,
        }),
        Err(problem) => {
            steps.push(problem.message.clone());
            Err((problem, steps))
        }
    }
}

fn decide<'f>(
    call: &Call,
    facts: &RouteFacts<'f>,
    steps: &mut Vec<String>,
) -> Result<(Destination<'f>, Option<String>), Problem> {
    if let Call::Through { through, .. } = call {
        return through_trunk(through, facts, steps);
    }
    if let Some(endpoint) = facts.named {
        steps.push(format!(
            "{} is an endpoint of the account",
            endpoint.address()
        ));
        return Ok((enabled(endpoint)?, None));
    }
    let Some(text) = facts.dialled else {
        return Err(nobody(call));
    };
    let Dialled {
        number,
        steps: told,
    } = transformed(facts.sender, text);
    steps.extend(told);
    let Some(number) = number else {
        let reason = format!("The sender's transformations reject {text}.");
        return Err(Problem::new(ProblemCode::NoRoute, TO, reason));
    };
    if let Some(owner) = facts.owner {
        steps.push(format!("{number} is a number of {}", owner.address()));
        return Ok((enabled(owner)?, Some(number)));
    }
    steps.push(format!(
        "no endpoint of the account has the number {number}"
    ));
    may_reach_outside(facts.sender)?;
    for trunk in in_order(facts.trunks) {
        let Dialled {
            number: wire,
            steps: told,
        } = transformed(trunk, &number);
        steps.extend(told);
        let called = match &wire {
            None => None,
            Some(_) if is_e164(&number) => Some(number.clone()),
            Some(wire) => Some(wire.clone()).filter(|wire| is_e164(wire)),
        };
        if let (Some(wire), Some(called)) = (wire, called) {
            steps.push(format!("the trunk {} takes {wire}", trunk.address()));
            let way = Way::Number(wire);
            return Ok((Destination::Trunk(trunk, way), Some(called)));
        }
        steps.push(format!(
            "the trunk {} does not take {number}",
            trunk.address()
        ));
    }
    let reason = if is_e164(&number) {
        format!("No trunk of the account takes {number}.")
    } else {
        format!("{number} is no E.164 number, and no transformation makes it one.")
    };
    Err(Problem::new(ProblemCode::NoRoute, TO, reason))
}

fn nobody(call: &Call) -> Problem {
    let text = match call {
        Call::Endpoint { .. } => {
            "There is no such endpoint. Messages are not relayed to other hosts or other accounts' domains."
        }
        Call::Number(_) | Call::Through { .. } => "There is no such endpoint.",
    };
    Problem::new(ProblemCode::NotFound, TO, text)
}

/// Takes an endpoint of the account as the recipient.
///
/// # Errors
/// `EndpointDisabled`.
pub fn enabled(endpoint: &Endpoint) -> Result<Destination<'_>, Problem> {
    if endpoint.enabled {
        return Ok(Destination::Endpoint(endpoint));
    }
    Err(Problem::new(
        ProblemCode::EndpointDisabled,
        TO,
        format!("The endpoint {} is disabled.", endpoint.address()),
    ))
}

fn may_reach_outside(sender: &Endpoint) -> Result<(), Problem> {
    if sender.allow_outside {
        return Ok(());
    }
    Err(Problem::new(
        ProblemCode::NoRoute,
        "from",
        format!(
            "The endpoint {} may not write to numbers and addresses outside: `allowOutside` is off.",
            sender.address()
        ),
    ))
}

/// A call through a named endpoint: out through a trunk, or to a phone that is named by its own address.
fn through_trunk<'f>(
    through: &Through,
    facts: &RouteFacts<'f>,
    steps: &mut Vec<String>,
) -> Result<(Destination<'f>, Option<String>), Problem> {
    let Some(named) = facts.named else {
        return Err(Problem::not_found(TO, "endpoint"));
    };
    if named.kind != EndpointType::ThirdParty {
        let is_itself = match through {
            Through::User(user) => sip_validate::aor_user(user)
                .is_ok_and(|canonical| canonical == named.canonical_name.as_str()),
            Through::Uri(uri) => names(uri, named),
        };
        if !is_itself {
            let reason = format!("{} is no trunk that leads elsewhere.", named.address());
            return Err(Problem::new(ProblemCode::NotFound, TO, reason));
        }
        steps.push(format!("{} is an endpoint of the account", named.address()));
        return Ok((enabled(named)?, None));
    }
    enabled(named)?;
    may_reach_outside(facts.sender)?;
    if !leads_out(named) {
        let reason = format!("The trunk {} has no address for messages.", named.address());
        return Err(Problem::new(ProblemCode::NoRoute, TO, reason));
    }
    steps.push(format!("{} is a trunk of the account", named.address()));
    Ok(match through {
        Through::User(user) => {
            let number = Some(user.clone()).filter(|user| is_e164(user));
            (Destination::Trunk(named, Way::Number(user.clone())), number)
        }
        Through::Uri(uri) => (Destination::Trunk(named, Way::Uri(uri.clone())), None),
    })
}

fn names(uri: &str, endpoint: &Endpoint) -> bool {
    let Ok(uri) = SipUri::parse(uri) else {
        return false;
    };
    let aor = uri.aor();
    aor.domain == endpoint.domain_name.as_str()
        && aor
            .user
            .is_some_and(|user| user == endpoint.canonical_name.as_str())
}

/// Returns the trunks that a message can go out by, best first: by their best address, then the oldest.
fn in_order(trunks: &[Endpoint]) -> Vec<&Endpoint> {
    let mut usable: Vec<&Endpoint> = trunks
        .iter()
        .filter(|trunk| trunk.enabled && leads_out(trunk))
        .collect();
    usable.sort_by_key(|trunk| {
        let best = outward(trunk).map(|address| address.priority).min();
        (best, trunk.created_at, trunk.id)
    });
    usable
}

fn leads_out(trunk: &Endpoint) -> bool {
    outward(trunk).next().is_some()
}

fn outward(trunk: &Endpoint) -> impl Iterator<Item = &crate::endpoint::Address> {
    let is_outward = |direction| match direction {
        AddressDirection::Any | AddressDirection::Outbound => true,
        AddressDirection::Inbound => false,
    };
    let addresses = trunk.nested.addresses.iter();
    addresses
        .filter(move |address| is_outward(address.direction) && trunk.allows(address.transport))
}

/// Returns the addresses that a message goes out by, in the order in which they are tried.
#[must_use]
pub fn outward_addresses(trunk: &Endpoint) -> Vec<&crate::endpoint::Address> {
    let mut addresses: Vec<_> = outward(trunk).collect();
    addresses.sort_by_key(|address| address.priority);
    addresses
}

/// What is known about the numbers that a message to an outside number can come from.
#[derive(Debug, Clone, Copy)]
pub struct SenderNumbers<'f> {
    /// The number that the caller speaks as, which is the sender's own.
    pub given: Option<&'f str>,
    /// The numbers of the account, sorted.
    pub account: &'f [String],
    /// What the account's profile says for endpoints that say nothing: a number, or [`SEND_AS_RANDOM`].
    pub default_send_as: Option<&'f str>,
    /// The number of the sender's latest chat with the same peer.
    pub latest: Option<&'f str>,
}

/// Chooses the number that a message to an outside number comes from: the one given, else what `sendAs` of the endpoint or
/// its profile says, else the endpoint's first number.
///
/// # Errors
/// `NoSenderNumber` when there is none.
pub fn sender_number(
    mint: &Mint<'_>,
    sender: &Endpoint,
    numbers: &SenderNumbers<'_>,
) -> Result<String, Problem> {
    let none = |text: String| Problem::new(ProblemCode::NoSenderNumber, "from", text);
    if let Some(given) = numbers.given {
        return Ok(given.to_owned());
    }
    let is_ours = |number: &str| numbers.account.iter().any(|own| own == number);
    match sender.send_as.as_deref().or(numbers.default_send_as) {
        Some(SEND_AS_RANDOM) => {
            if let Some(latest) = numbers.latest.filter(|number| is_ours(number)) {
                return Ok(latest.to_owned());
            }
            let dice = usize::from(u16::from_be_bytes(mint.bytes()));
            let place = dice.checked_rem(numbers.account.len());
            place
                .and_then(|place| numbers.account.get(place))
                .cloned()
                .ok_or_else(|| none("The account has no number to send from.".to_owned()))
        }
        Some(number) if is_ours(number) => Ok(number.to_owned()),
        Some(number) => Err(none(format!(
            "`sendAs` says {number}, which is not assigned to the account."
        ))),
        None => sender.numbers.first().cloned().ok_or_else(|| {
            none(format!(
                "The endpoint {} has no number to send from: give `from` a number, or set `sendAs`.",
                sender.address()
            ))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::testing::{self, Seeded, address, endpoint};
    use crate::endpoint::Transformation;
    use crate::{EndpointId, Timestamp, TransformationId};

    fn outsider() -> Endpoint {
        Endpoint {
            allow_outside: true,
            ..endpoint("alice")
        }
    }

    fn trunk(n: u8, priority: i32) -> Endpoint {
        Endpoint {
            id: EndpointId([n; 16]),
            ..testing::trunk(&format!("trunk{n}"), vec![address(n, priority)])
        }
    }

    fn rule(rule: Rule) -> Transformation {
        Transformation {
            id: TransformationId([7; 16]),
            rule,
        }
    }

    fn rewrite(pattern: &str, replace: &str) -> Transformation {
        rule(Rule::Rewrite {
            pattern: pattern.into(),
            replace: replace.into(),
        })
    }

    fn facts<'f>(sender: &'f Endpoint, text: &'f str, trunks: &'f [Endpoint]) -> RouteFacts<'f> {
        RouteFacts {
            sender,
            named: None,
            dialled: Some(text),
            owner: None,
            trunks,
        }
    }

    fn out(facts: &RouteFacts<'_>) -> Result<(String, Way, Option<String>), (ProblemCode, String)> {
        let text = facts.dialled.unwrap_or_default().to_owned();
        match route(&Call::Number(text), facts) {
            Ok(Routed {
                destination: Destination::Trunk(trunk, way),
                number,
                ..
            }) => Ok((trunk.name.clone(), way, number)),
            Ok(Routed {
                destination: Destination::Endpoint(endpoint),
                number,
                ..
            }) => Ok((endpoint.name.clone(), Way::Contacts, number)),
            Err((problem, steps)) => {
                assert_eq!(steps.last(), Some(&problem.message));
                Err((problem.code, problem.field.join(".")))
            }
        }
    }

    const NUMBER: &str = "+12125550100";

    #[test]
    fn h162_own_endpoint_before_own_number_before_trunks() {
        let (sender, bob, carol) = (outsider(), endpoint("bob"), endpoint("carol"));
        let trunks = [trunk(1, 0)];
        let all = RouteFacts {
            named: Some(&bob),
            owner: Some(&carol),
            ..facts(&sender, NUMBER, &trunks)
        };
        assert_eq!(out(&all).unwrap().0, "bob");
        let unnamed = RouteFacts { named: None, ..all };
        let called = Some(NUMBER.to_owned());
        assert_eq!(
            out(&unnamed),
            Ok(("carol".into(), Way::Contacts, called.clone()))
        );
        let outside = facts(&sender, NUMBER, &trunks);
        let way = Way::Number(NUMBER.into());
        assert_eq!(out(&outside), Ok(("trunk1".into(), way, called)));
        let nowhere = facts(&sender, NUMBER, &[]);
        assert_eq!(out(&nowhere), Err((ProblemCode::NoRoute, "to".into())));
        let inner = endpoint("alice");
        let refused = facts(&inner, NUMBER, &trunks);
        assert_eq!(out(&refused), Err((ProblemCode::NoRoute, "from".into())));
        let foreign = RouteFacts {
            dialled: None,
            ..outside
        };
        assert_eq!(out(&foreign), Err((ProblemCode::NotFound, "to".into())));
    }

    #[test]
    fn h162_a_disabled_endpoint_hides_no_trunk() {
        let sender = outsider();
        let bob = Endpoint {
            enabled: false,
            ..endpoint("bob")
        };
        let trunks = [trunk(1, 0)];
        let owned = RouteFacts {
            owner: Some(&bob),
            ..facts(&sender, NUMBER, &trunks)
        };
        assert_eq!(
            out(&owned),
            Err((ProblemCode::EndpointDisabled, "to".into()))
        );
    }

    #[test]
    fn h164_transformations_make_the_number_of_a_route() {
        let mut sender = outsider();
        let (mut one, two) = (trunk(1, 0), trunk(2, 5));
        one.nested.transformations = vec![
            rule(Rule::Reject {
                pattern: "^\\+49900".into(),
            }),
            rewrite("^\\+", "00"),
        ];
        let trunks = [two, one];
        let digits = facts(&sender, "03012345", &trunks);
        assert_eq!(out(&digits), Err((ProblemCode::NoRoute, "to".into())));
        sender.nested.transformations = vec![rewrite("^0", "+49")];
        let dialled = facts(&sender, "03012345", &trunks);
        assert_eq!(
            out(&dialled),
            Ok((
                "trunk1".into(),
                Way::Number("004930 12345".replace(' ', "")),
                Some("+493012345".into())
            ))
        );
        // What the first trunk rejects the next one takes.
        let dialled = facts(&sender, "0900123", &trunks);
        assert_eq!(
            out(&dialled),
            Ok((
                "trunk2".into(),
                Way::Number("+49900123".into()),
                Some("+49900123".into())
            ))
        );
    }

    #[test]
    fn h163_trunks_by_priority_and_direction() {
        let sender = outsider();
        let mut inward = trunk(1, 0);
        inward.nested.addresses[0].direction = AddressDirection::Inbound;
        let disabled = Endpoint {
            enabled: false,
            ..trunk(2, 0)
        };
        let trunks = [trunk(3, 9), inward, disabled, trunk(4, 2)];
        assert_eq!(out(&facts(&sender, NUMBER, &trunks)).unwrap().0, "trunk4");
        let mut many = trunk(5, 0);
        many.nested.addresses = vec![address(7, 7), address(3, 3), address(5, 5)];
        many.nested.addresses[0].direction = AddressDirection::Outbound;
        many.nested.addresses[1].direction = AddressDirection::Inbound;
        let order: Vec<i32> = outward_addresses(&many)
            .iter()
            .map(|a| a.priority)
            .collect();
        assert_eq!(order, [5, 7]);
    }

    #[test]
    fn h162_a_foreign_host_only_through_a_named_trunk() {
        let sender = outsider();
        let trunk = trunk(1, 0);
        let through = |uri: &str| Call::Through {
            trunk: EndpointKey::Id(trunk.id),
            through: Through::Uri(uri.to_owned()),
        };
        let known = RouteFacts {
            named: Some(&trunk),
            dialled: None,
            ..facts(&sender, "", &[])
        };
        let routed = route(&through("sip:zoe@elsewhere.test"), &known).unwrap();
        let way = Way::Uri("sip:zoe@elsewhere.test".into());
        assert_eq!(routed.destination, Destination::Trunk(&trunk, way));
        let phone = endpoint("bob");
        let by_phone = RouteFacts {
            named: Some(&phone),
            ..known
        };
        let refused = route(&through("sip:zoe@elsewhere.test"), &by_phone).unwrap_err();
        assert_eq!(refused.0.code, ProblemCode::NotFound);
        let own = route(&through("sip:bob@example.com"), &by_phone).unwrap();
        assert_eq!(own.destination, Destination::Endpoint(&phone));
        let inner = endpoint("alice");
        let refused = route(
            &through("sip:zoe@elsewhere.test"),
            &RouteFacts {
                sender: &inner,
                ..known
            },
        );
        assert_eq!(refused.unwrap_err().0.code, ProblemCode::NoRoute);
    }

    #[test]
    fn d095_a_telephone_behind_a_trunk_answers_to_a_number() {
        for (way, expected) in [
            (Way::Number("12125550100".into()), true),
            (Way::Number("zoe".into()), false),
            (Way::Uri("sip:+4930123456@carrier.test".into()), true),
            (Way::Uri("sips:%2B4930123456@carrier.test".into()), true),
            (Way::Uri("sip:zoe@carrier.test".into()), false),
            (Way::Uri("sip:carrier.test".into()), false),
            (Way::Contacts, false),
        ] {
            assert_eq!(is_to_telephone(&way), expected, "{way:?}");
        }
    }

    #[test]
    fn h165_an_answer_goes_where_the_message_came_from() {
        let phone = Endpoint {
            numbers: vec![NUMBER.into()],
            ..endpoint("alice")
        };
        let trunk = trunk(1, 0);
        let address = |of: &Endpoint| Call::from(EndpointKey::Id(of.id));
        let by_number = Call::Number(NUMBER.into());
        let ours = format!("sip:{NUMBER}@example.com");
        let outside = "sip:zoe@carrier.test";
        let through = Call::Through {
            trunk: EndpointKey::Id(trunk.id),
            through: Through::Uri(outside.into()),
        };
        for (sender, from, expected) in [
            (&phone, phone.sip_uri().as_str(), address(&phone)),
            (&phone, &ours, by_number.clone()),
            // A number that was taken from it meanwhile.
            (&phone, "sip:+33@example.com", address(&phone)),
            (&trunk, &ours, by_number),
            (&trunk, outside, through),
            (&trunk, &trunk.sip_uri(), address(&trunk)),
        ] {
            assert_eq!(call_back(sender, from), expected, "{from}");
        }
        assert_eq!(known_by(&ours), NUMBER);
        assert_eq!(known_by("sip:%7Aoe@Carrier.test;x=1"), "zoe@carrier.test");
    }

    #[test]
    fn d095_the_number_that_a_message_comes_from() {
        let entropy = Seeded::default();
        let mint = Mint::new(Timestamp(0), &entropy);
        let account = [NUMBER.to_owned(), "+442079460000".to_owned()];
        let numbers = SenderNumbers {
            given: None,
            account: &account,
            default_send_as: None,
            latest: None,
        };
        let mut sender = outsider();
        let refused = sender_number(&mint, &sender, &numbers).unwrap_err();
        assert_eq!(refused.code, ProblemCode::NoSenderNumber);
        sender.numbers = vec!["+33".into()];
        assert_eq!(sender_number(&mint, &sender, &numbers).unwrap(), "+33");
        let profile = SenderNumbers {
            default_send_as: Some(NUMBER),
            ..numbers
        };
        assert_eq!(sender_number(&mint, &sender, &profile).unwrap(), NUMBER);
        sender.send_as = Some(SEND_AS_RANDOM.into());
        assert!(account.contains(&sender_number(&mint, &sender, &profile).unwrap()));
        let kept = SenderNumbers {
            latest: Some("+442079460000"),
            ..profile
        };
        assert_eq!(
            sender_number(&mint, &sender, &kept).unwrap(),
            "+442079460000"
        );
        let given = SenderNumbers {
            given: Some("+33"),
            ..kept
        };
        assert_eq!(sender_number(&mint, &sender, &given).unwrap(), "+33");
        sender.send_as = Some("+7".into());
        let foreign = sender_number(&mint, &sender, &kept).unwrap_err();
        assert_eq!(foreign.code, ProblemCode::NoSenderNumber);
    }
}
