//! Endpoint tokens, failed registrations and lifted bans.

use sipgraph_core::{
    EndpointTokenId, RegistrationFailureId, Timestamp,
    binding::Transport,
    commit::{Answer, Precondition, Write},
    defence::Source,
    digest::{DigestAlgorithm, Ha1, ha1_values},
    domain::Domain,
    endpoint_token::{EndpointToken, LIVE_MAX},
    ports::{Store as _, store::RegistrationFailureFilter},
    registration_failure::{FailedRegistration, FailureReason, RegistrationFailure},
};
use sipgraph_testkit::both_backends;

use crate::world::{Phone, World, first};

fn token_of(world: &World, phone: &Phone, life_us: i64) -> EndpointToken {
    let now = world.now();
    EndpointToken {
        id: EndpointTokenId(world.bytes()),
        account: world.account,
        endpoint: phone.id,
        created_at: now,
        expires_at: Timestamp(now.0 + life_us),
        revoked_at: None,
    }
}

fn values(secret: &str) -> Vec<Ha1> {
    ha1_values(
        "alice",
        "a.example",
        secret,
        &[DigestAlgorithm::Sha256, DigestAlgorithm::Md5],
    )
}

async fn minted(world: &World, phone: &Phone, life_us: i64, secret: &str) -> EndpointToken {
    let token = token_of(world, phone, life_us);
    let ha1 = values(secret);
    let write = Write::EndpointTokenInsert {
        token: token.clone(),
        ha1,
    };
    world.apply(world.commit(vec![write])).await;
    token
}

async fn holds(world: &World, precondition: Precondition) -> bool {
    let mut commit = world.commit(Vec::new());
    commit.preconditions = vec![precondition];
    world.store.commit(commit).await.unwrap() != Answer::Failed(0)
}

fn source(text: &str) -> Source {
    Source::parse(text).unwrap()
}

fn failure_of(world: &World, domain: &Domain, aor: &str, from: &str) -> RegistrationFailure {
    RegistrationFailure {
        id: RegistrationFailureId(world.bytes()),
        at: world.now(),
        count: 1,
        failed: FailedRegistration {
            account: world.account,
            domain: domain.id,
            endpoint: None,
            aor: aor.to_owned(),
            source: source(from),
            transport: Transport::Udp,
            reason: FailureReason::WrongPassword,
        },
    }
}

async fn failures(world: &World, filter: RegistrationFailureFilter) -> Vec<RegistrationFailure> {
    let read = world
        .store
        .registration_failures(world.account, filter, first(1000));
    read.await.unwrap().items
}

both_backends! {
    async fn live_tokens_are_passwords(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let long = minted(&world, &alice, 3_600_000_000, "long").await;
        let short = minted(&world, &alice, 1, "short").await;
        let read = async || {
            let now = world.now();
            world.store.credentials(domain.id, "alice".into(), now).await.unwrap().unwrap().tokens.clone()
        };
        let live = read().await;
        assert_eq!(live.len(), 1, "the other has ended");
        assert_eq!((live[0].id, live[0].expires_at), (long.id, long.expires_at));
        let mut opened = live[0].ha1.clone();
        opened.sort_by_key(|ha1| ha1.algorithm);
        assert_eq!(opened, values("long"));
        assert!(holds(&world, Precondition::EndpointTokenLive(long.id)).await);
        let mut revoke = world.commit(vec![Write::EndpointTokenRevoke(long.id)]);
        revoke.preconditions = vec![Precondition::EndpointTokenLive(long.id)];
        let at = revoke.at;
        world.apply(revoke.clone()).await;
        assert_eq!(world.store.commit(revoke).await.unwrap(), Answer::Failed(0));
        assert_eq!(read().await, []);
        let known = world.store.endpoint_token(world.account, long.id).await.unwrap();
        assert_eq!(known, Some(EndpointToken { revoked_at: Some(at), ..long.clone() }));
        // Another account does not see it.
        let other = world.other("other").await;
        assert_eq!(other.store.endpoint_token(other.account, long.id).await.unwrap(), None);
        // They are kept for a time after their end.
        assert_eq!(world.store.endpoint_tokens_trim(world.now(), 10).await.unwrap(), 1);
        assert_eq!(world.store.endpoint_token(world.account, short.id).await.unwrap(), None);
        assert!(world.store.endpoint_token(world.account, long.id).await.unwrap().is_some());
        // They go with their endpoint.
        world.apply(world.commit(vec![Write::EndpointDelete(alice.id)])).await;
        assert_eq!(world.store.endpoint_token(world.account, long.id).await.unwrap(), None);
        assert_eq!(world.store.credentials(domain.id, "alice".into(), world.now()).await.unwrap(), None);
    }

    async fn an_endpoint_has_so_many_live_tokens(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let (alice, bob) = (world.phone(&domain, "alice").await, world.phone(&domain, "bob").await);
        let left = |world: &World| Precondition::EndpointTokensLeft(alice.id, world.now());
        minted(&world, &alice, 1, "ended").await;
        let mut tokens = Vec::new();
        for n in 0..LIVE_MAX {
            assert!(holds(&world, left(&world)).await, "{n}");
            tokens.push(minted(&world, &alice, 3_600_000_000, "live").await);
        }
        assert!(!holds(&world, left(&world)).await);
        assert!(holds(&world, Precondition::EndpointTokensLeft(bob.id, world.now())).await);
        world.apply(world.commit(vec![Write::EndpointTokenRevoke(tokens[0].id)])).await;
        // In one batch the second is one too many.
        let commit = || {
            let write = Write::EndpointTokenInsert { token: token_of(&world, &alice, 3_600_000_000), ha1: values("x") };
            let mut commit = world.commit(vec![write]);
            commit.preconditions = vec![left(&world)];
            commit
        };
        let answers = futures_util::future::join_all([commit(), commit()].map(|c| world.store.commit(c))).await;
        let failed = answers.iter().filter(|answer| matches!(answer, Ok(Answer::Failed(0)))).count();
        assert_eq!(failed, 1, "{answers:?}");
    }

    async fn a_binding_keeps_its_token(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let token = minted(&world, &alice, 3_600_000_000, "x").await;
        let mut binding = world.binding_of(&alice);
        binding.token = Some(token.id);
        world.apply(world.commit(vec![Write::BindingPut(binding.clone())])).await;
        let (_, found) = world.store.endpoint_bindings(world.account, alice.id).await.unwrap().unwrap();
        assert_eq!(found, [binding]);
        let totals = world.store.totals().await.unwrap();
        assert_eq!((totals.bindings, totals.dispatches), (1, 0));
    }

    async fn failures_of_a_kind_are_one_row(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let one = failure_of(&world, &domain, "alice@a.example", "192.0.2.1");
        let mut other = failure_of(&world, &domain, "bob@a.example", "2001:db8::/64");
        other.failed.reason = FailureReason::UnknownUser;
        let put = |failure: &RegistrationFailure| Write::RegistrationFailurePut(failure.clone());
        world.apply(world.commit(vec![put(&one), put(&other)])).await;
        let mut again = failure_of(&world, &domain, "alice@a.example", "192.0.2.1");
        again.count = 41;
        again.failed.endpoint = Some(alice.id);
        again.failed.transport = Transport::Tls;
        world.apply(world.commit(vec![put(&again)])).await;
        let all = failures(&world, RegistrationFailureFilter::default()).await;
        let merged = RegistrationFailure { id: one.id, count: 42, ..again.clone() };
        assert_eq!(all, [merged.clone(), other.clone()], "the latest first");
        for (filter, expected) in [
            (RegistrationFailureFilter { endpoint: Some(alice.id), ..Default::default() }, vec![&merged]),
            (RegistrationFailureFilter { source: Some(source("2001:db8::1")), ..Default::default() }, vec![&other]),
            (RegistrationFailureFilter { reason: Some(FailureReason::UnknownUser), ..Default::default() }, vec![&other]),
            (RegistrationFailureFilter { from: Some(again.at), ..Default::default() }, vec![&merged]),
            (RegistrationFailureFilter { to: Some(again.at), ..Default::default() }, vec![&other]),
            (RegistrationFailureFilter { visible: Some(vec![alice.id]), ..Default::default() }, vec![&merged]),
            (RegistrationFailureFilter { visible: Some(Vec::new()), ..Default::default() }, vec![]),
        ] {
            assert_eq!(failures(&world, filter.clone()).await.iter().collect::<Vec<_>>(), expected, "{filter:?}");
        }
        let other_account = world.other("other").await;
        assert_eq!(failures(&other_account, RegistrationFailureFilter::default()).await, []);
        // The latest stay.
        world.store.registration_failures_cap(world.account, 1).await.unwrap();
        assert_eq!(failures(&world, RegistrationFailureFilter::default()).await, [merged]);
        // They go with their endpoint.
        world.apply(world.commit(vec![Write::EndpointDelete(alice.id)])).await;
        assert_eq!(failures(&world, RegistrationFailureFilter::default()).await, []);
    }

    async fn lifts_are_seen_by_every_node(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let before = world.now();
        let lift = world.commit(vec![Write::BanLift(source("192.0.2.1"))]);
        world.apply(lift.clone()).await;
        assert_eq!(world.store.ban_lifts_since(before).await.unwrap(), [("192.0.2.1".to_owned(), lift.at)]);
        let again = world.commit(vec![Write::BanLift(source("192.0.2.1"))]);
        world.apply(again.clone()).await;
        assert_eq!(world.store.ban_lifts_since(before).await.unwrap(), [("192.0.2.1".to_owned(), again.at)]);
        assert_eq!(world.store.ban_lifts_since(world.now()).await.unwrap(), []);
        let old = failure_of(&world, &domain, "alice@a.example", "192.0.2.1");
        world.apply(world.commit(vec![Write::RegistrationFailurePut(old)])).await;
        assert_eq!(world.store.registration_failures_trim(before, 10).await.unwrap(), 0);
        assert_eq!(world.store.registration_failures_trim(world.now(), 10).await.unwrap(), 1);
        assert_eq!(world.store.ban_lifts_since(before).await.unwrap(), []);
        assert_eq!(failures(&world, RegistrationFailureFilter::default()).await, []);
    }
}
