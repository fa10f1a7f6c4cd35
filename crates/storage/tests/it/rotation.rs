//! Replacing the instance key while another process serves.

use std::sync::{Arc, Mutex};

use futures_util::future::{join_all, join3};
use sipgraph_core::{
    EndpointTokenId, ErrorKind, Timestamp,
    commit::{Answer, CredentialsChange, EndpointSecret, InputMac, Write},
    digest::{DigestAlgorithm, Ha1, PasswordCharset},
    domain::Domain,
    endpoint_token::EndpointToken,
    keyring::{KeySource, KeyUse, Keyring, Secret, key_id},
    ports::Store as _,
    rotation::{InstanceKeys, PreviousKey},
};
use sipgraph_storage::{Address, Options, RotationPlace, StartError, Storage, inspect, migrate};
use sipgraph_testkit::{Database, SeededEntropy, both_backends};

use crate::world::{Phone, START, World};

const OLD: [u8; 32] = [1; 32];
const NEW: [u8; 32] = [2; 32];
/// More values than a step seals anew, with two each.
const PHONES: usize = 300;

/// A key file that changes.
#[derive(Clone)]
struct File(Arc<Mutex<Vec<[u8; 32]>>>);

impl File {
    fn of(keys: &[[u8; 32]]) -> Self {
        Self(Arc::new(Mutex::new(keys.to_vec())))
    }

    fn put(&self, keys: &[[u8; 32]]) {
        *self.0.lock().unwrap() = keys.to_vec();
    }

    fn keyring(&self) -> Keyring {
        let keys = self.keys();
        Keyring::of(keys[0], &keys[1..], Some(Box::new(self.clone())))
    }
}

impl KeySource for File {
    fn keys(&self) -> Vec<[u8; 32]> {
        self.0.lock().unwrap().clone()
    }
}

async fn open(database: &Database, keyring: Keyring) -> Result<Storage, StartError> {
    let address = Address::parse(database.url()).unwrap();
    migrate(&address).await.unwrap();
    // Another process has other nonces.
    let entropy = Arc::new(SeededEntropy::new(keyring.ids().len().try_into().unwrap()));
    Storage::open(&address, keyring, entropy, START, &Options::default()).await
}

fn ha1(name: &str, password: &str) -> Vec<Ha1> {
    let of = |algorithm| Ha1 {
        algorithm,
        charset: PasswordCharset::Utf8,
        value: Secret::new(format!("{name}:{password}")),
    };
    vec![of(DigestAlgorithm::Sha256), of(DigestAlgorithm::Md5)]
}

async fn read(world: &World, domain: &Domain, name: &str) -> Vec<Ha1> {
    let found = world.store.credentials(domain.id, name.to_owned(), START);
    found.await.unwrap().unwrap().ha1.clone()
}

/// A server with many phones; one has every kind of secret.
async fn stage(database: &Database, file: &File) -> (World, Domain, Vec<Phone>) {
    let world = World::of(open(database, file.keyring()).await.unwrap()).await;
    let domain = world.domain("a.example").await;
    let mut phones = Vec::new();
    for i in 0..PHONES {
        let name = format!("p{i}");
        let phone = world.phone_of(&domain, &name);
        let mut commit = world.create(&phone, ha1(&name, "old"));
        if i == 0
            && let [Write::EndpointInsert { secrets, .. }] = commit.writes.as_mut_slice()
        {
            secrets.push((EndpointSecret::VoipToken, Secret::new("voip")));
            secrets.push((EndpointSecret::OutSipPassword, Secret::new("out")));
        }
        phones.push((phone, commit));
    }
    let (phones, commits): (Vec<_>, Vec<_>) = phones.into_iter().unzip();
    for answer in join_all(commits.into_iter().map(|commit| world.store.commit(commit))).await {
        assert!(matches!(answer.unwrap(), Answer::Applied(_)));
    }
    let token = EndpointToken {
        id: EndpointTokenId(world.bytes()),
        account: world.account,
        endpoint: phones[1].id,
        created_at: START,
        expires_at: Timestamp(START.0 + 3_600_000_000),
        revoked_at: None,
    };
    let ha1 = ha1("p1", "token");
    world
        .apply(world.commit(vec![Write::EndpointTokenInsert { token, ha1 }]))
        .await;
    (world, domain, phones)
}

/// Everything that [`stage`] sealed opens.
async fn all_opens(world: &World, domain: &Domain, changed: &[(usize, &str)]) {
    for i in 0..PHONES {
        let name = format!("p{i}");
        let password = changed
            .iter()
            .find(|(place, _)| *place == i)
            .map_or("old", |(_, p)| p);
        assert_eq!(
            read(world, domain, &name).await,
            ha1(&name, password),
            "{name}"
        );
    }
    let found = world
        .store
        .credentials(domain.id, "p1".to_owned(), START)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.tokens[0].ha1, ha1("p1", "token"));
}

fn change(world: &World, phone: &Phone, password: &str) -> sipgraph_core::commit::Commit {
    world.commit(vec![Write::EndpointUpdate {
        endpoint: Box::new(phone.clone()),
        credentials: CredentialsChange::Replace(ha1(&phone.name, password)),
        secrets: Vec::new(),
    }])
}

both_backends! {
    /// From the first step to the last, with a server that is told of nothing but finds the new key in its file.
    async fn every_secret_is_sealed_anew_while_a_server_runs(database: Database) {
        let (old, new) = (key_id(OLD), key_id(NEW));
        let file = File::of(&[OLD]);
        let (world, domain, phones) = stage(&database, &file).await;
        let other_kinds = (2 + 2, 2 * PHONES);
        let command = open(&database, Keyring::of(NEW, &[OLD], None)).await.unwrap();
        assert_eq!(command.rotation_left().await.unwrap(), 0);
        assert!(!command.rotation_end(START).await.unwrap() && !command.previous_key_forget(old).await.unwrap());
        assert!(!command.rotation_begin(new, old).await.unwrap(), "another key is in use");
        assert!(command.rotation_begin(old, new).await.unwrap());
        assert!(!command.rotation_begin(new, key_id([3; 32])).await.unwrap(), "a rotation is not over");
        let left = u64::try_from(other_kinds.0 + other_kinds.1).unwrap();
        assert_eq!(command.rotation_left().await.unwrap(), left);
        let noted = InstanceKeys { current: new, previous: Some(PreviousKey { id: old, replaced_at: None }) };
        assert_eq!(command.keys().await.unwrap(), Some(noted));
        let found = inspect(&Address::parse(database.url()).unwrap()).await.unwrap();
        assert_eq!((found.keys, found.sealed_before), (Some(noted), left));
        for (given, needed) in [(OLD, new), (NEW, old)] {
            let error = open(&database, Keyring::new(given)).await.unwrap_err();
            assert_eq!(error, StartError::WrongKey { needed, given: vec![key_id(given)] });
        }

        // A node whose file was not brought: it seals nothing, says why, and goes on with the rest.
        let late = world.phone_of(&domain, "late");
        let error = world.store.commit(world.create(&late, ha1("late", "x"))).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Internal);
        assert!(error.to_string().contains(&new.to_string()), "{error}");
        world.apply(world.create(&world.phone_of(&domain, "without"), Vec::new())).await;
        assert_eq!(read(&world, &domain, "p5").await, ha1("p5", "old"));

        // With the file it goes on, and seals with the new key.
        file.put(&[NEW, OLD]);
        world.apply(world.create(&late, ha1("late", "x"))).await;
        assert_eq!(command.rotation_left().await.unwrap(), left);
        let step = command.rotation_step(RotationPlace::default()).await.unwrap();
        assert_eq!(step.done, 500);
        all_opens(&world, &domain, &[]).await;
        world.apply(change(&world, &phones[0], "new")).await;
        world.apply(change(&world, &phones[PHONES - 1], "new")).await;
        let changed = [(0, "new"), (PHONES - 1, "new")];
        all_opens(&world, &domain, &changed).await;

        // It is broken off and begins at the front again.
        command.close().await;
        let command = open(&database, Keyring::of(NEW, &[OLD], None)).await.unwrap();
        let (mut place, mut done) = (Some(RotationPlace::default()), step.done);
        while let Some(from) = place {
            let step = command.rotation_step(from).await.unwrap();
            (place, done) = (step.next, done + step.done);
        }
        // One whose values were still of the old key got new ones meanwhile.
        assert_eq!((done, command.rotation_left().await.unwrap()), (left - 2, 0));
        all_opens(&world, &domain, &changed).await;
        let secrets = world.store.endpoint_secrets(world.account, vec![phones[0].id]).await.unwrap();
        let mut others: Vec<_> = secrets[0].others.iter().map(|(_, secret)| secret.expose()).collect();
        others.sort_unstable();
        assert_eq!(others, ["out", "voip"]);

        assert!(!command.previous_key_forget(old).await.unwrap(), "its end is not noted");
        assert!(command.rotation_end(START).await.unwrap());
        assert!(!command.rotation_end(START).await.unwrap());
        assert!(!command.rotation_begin(new, old).await.unwrap(), "the key before is not forgotten");
        open(&database, Keyring::new(NEW)).await.unwrap().close().await;
        assert!(!command.previous_key_forget(new).await.unwrap());
        assert!(command.previous_key_forget(old).await.unwrap());
        assert_eq!(command.keys().await.unwrap(), Some(InstanceKeys { current: new, previous: None }));
        let alone = World::of_account(open(&database, Keyring::new(NEW)).await.unwrap(), &world);
        all_opens(&alone, &domain, &changed).await;
    }

    /// Passwords that change while steps run, again and again: the last one counts.
    async fn a_change_at_the_same_time_is_never_undone(database: Database) {
        let file = File::of(&[OLD]);
        let (world, domain, phones) = stage(&database, &file).await;
        file.put(&[NEW, OLD]);
        let command = open(&database, file.keyring()).await.unwrap();
        assert!(command.rotation_begin(key_id(OLD), key_id(NEW)).await.unwrap());
        let changes = async {
            for round in 0..3 {
                let password = format!("new{round}");
                let commits = phones.iter().map(|phone| world.store.commit(change(&world, phone, &password)));
                for answer in join_all(commits).await {
                    assert!(matches!(answer.unwrap(), Answer::Applied(_)));
                }
            }
        };
        // Two commands, as on two nodes, are in nobody's way.
        let other = open(&database, file.keyring()).await.unwrap();
        let steps = async |command: &Storage| {
            while command.rotation_left().await.unwrap() > 0 {
                let mut place = Some(RotationPlace::default());
                while let Some(from) = place {
                    place = command.rotation_step(from).await.unwrap().next;
                }
            }
        };
        join3(changes, steps(&command), steps(&other)).await;
        for phone in &phones {
            assert_eq!(read(&world, &domain, &phone.name).await, ha1(&phone.name, "new2"));
        }
        assert_eq!(command.rotation_left().await.unwrap(), 0);
    }

    /// Calls are known again by the MAC of either key, in the batch and in the look-up.
    async fn a_repeated_call_is_known_under_both_keys(database: Database) {
        let world = World::on(&database).await;
        let domain = world.domain("a.example").await;
        let alice = world.phone(&domain, "alice").await;
        let chat = world.chat(&alice, "x").await;
        let mac = |keys: &Keyring| keys.mac(KeyUse::Idempotency, &[b"input"]);
        let (old, new) = (Keyring::new(OLD), Keyring::of(NEW, &[OLD], None));
        let send = |input: InputMac| {
            let mut commit = world.receive(&alice, chat, "once");
            let mut call = world.call("k", 0);
            call.input = input;
            commit.idempotency = Some(call);
            commit
        };
        let first = send(mac(&old).into());
        let result = first.idempotency.clone().unwrap().result;
        world.apply(first).await;
        let others = new.other_macs(KeyUse::Idempotency, &[b"input"]);
        let again = InputMac { stored: mac(&new), others };
        let call = send(again.clone()).idempotency.unwrap();
        assert_eq!(world.store.idempotent_result(world.account, call).await.unwrap(), Some(Answer::Replayed(result.clone())));
        assert_eq!(world.store.commit(send(again)).await.unwrap(), Answer::Replayed(result));
        assert_eq!(world.store.commit(send(mac(&new).into())).await.unwrap(), Answer::KeyReused);
    }
}
