//! Endpoints found by a part of a text, in the order of the list, on either database.

use sipgraph_core::{
    ErrorKind, Timestamp,
    commit::Write,
    endpoint::Endpoint,
    page::{NameKey, PageKey, Slice},
    ports::{Store as _, store::EndpointFilter},
};
use sipgraph_testkit::both_backends;

use crate::world::{World, first};

fn named(text: &str) -> EndpointFilter {
    EndpointFilter {
        name_contains: Some(text.to_owned()),
        ..EndpointFilter::default()
    }
}

/// Makes many endpoints at a few times, so that many have the same, and gives them in the order of the list.
async fn crowd(world: &World, names: impl Iterator<Item = String>) -> Vec<Endpoint> {
    let domain = world.domain("crowd.example").await;
    let mut all = Vec::new();
    for (number, name) in names.enumerate() {
        let mut phone = world.phone_of(&domain, &name);
        phone.canonical_name = name;
        phone.enabled = number % 3 != 0;
        phone.created_at = Timestamp(1_700_000_000_000_000 + i64::try_from(number / 90).unwrap());
        phone.external_id = i64::try_from(number + 1).unwrap();
        all.push(phone);
    }
    for some in all.chunks(2000) {
        let writes = some.iter().map(|phone| Write::EndpointInsert {
            endpoint: Box::new(phone.clone()),
            credentials: Vec::new(),
            secrets: Vec::new(),
        });
        world.apply(world.commit(writes.collect())).await;
    }
    all.sort_by_key(|phone| (phone.created_at, phone.id.0));
    all.reverse();
    all
}

/// Reads a whole list of names page by page.
async fn walk(world: &World, filter: &EndpointFilter, backward: bool, limit: u32) -> Vec<String> {
    let mut slice = Slice {
        backward,
        ..first(limit)
    };
    let mut names = Vec::new();
    loop {
        let page = world
            .store
            .endpoints(world.account, filter.clone(), slice)
            .await
            .unwrap();
        let key = |phone: &Endpoint| PageKey {
            position: phone.created_at.0,
            tie: phone.id.0,
        };
        let found: Vec<String> = page.items.iter().map(|phone| phone.name.clone()).collect();
        if backward {
            slice.before = page.items.first().map(key);
            names.splice(0..0, found);
        } else {
            slice.after = page.items.last().map(key);
            names.extend(found);
        }
        let more = if backward {
            page.has_previous
        } else {
            page.has_next
        };
        if !more {
            return names;
        }
    }
}

both_backends! {
    async fn parts_of_names_are_found_in_the_order_of_the_list(database: Database) {
        let world = World::on(&database).await;
        let other = world.other("other").await;
        let names = (0..1200).map(|i| match i % 40 {
            0 => format!("Rare{i}"),
            1 => format!("100%_{i}"),
            2 => format!("it's-{i}"),
            _ => format!("common.{i}.Phone"),
        });
        let all = crowd(&world, names).await;
        let theirs = other.domain("other.example").await;
        other.phone(&theirs, "common.phone").await;
        for text in ["common", "COMMON", "rare", "RARE10", "phone", "mmon.1", "absent", "%", "_", "100%_", "'", "e", "a_b", "\\", "É", "n.1", ".11"] {
            let matches = |phone: &&Endpoint| phone.name.to_ascii_lowercase().contains(&text.to_ascii_lowercase());
            for enabled in [None, Some(true)] {
                let filter = EndpointFilter { enabled, ..named(text) };
                let expected: Vec<String> = all.iter().filter(matches)
                    .filter(|phone| enabled.is_none_or(|enabled| phone.enabled == enabled))
                    .map(|phone| phone.name.clone()).collect();
                let count = world.store.endpoints_count(world.account, filter.clone()).await.unwrap();
                assert_eq!(usize::try_from(count).unwrap(), expected.len(), "{text}");
                for (backward, limit) in [(false, 50), (false, 7), (true, 50), (false, 1000)] {
                    if limit == 7 && expected.len() > 200 {
                        continue;
                    }
                    assert_eq!(walk(&world, &filter, backward, limit).await, expected, "{text}, {enabled:?}, {backward}, {limit}");
                }
            }
        }
        // Given endpoints are looked at themselves.
        let filter = EndpointFilter { ids: Some(vec![all[0].id, all[5].id]), ..named("o") };
        let found = world.store.endpoints(world.account, filter, first(10)).await.unwrap();
        assert!(found.items.iter().all(|phone| [all[0].id, all[5].id].contains(&phone.id)));
        // What is deleted is not found.
        let rare = all.iter().find(|phone| phone.name == "Rare40").unwrap();
        world.apply(world.commit(vec![Write::EndpointDelete(rare.id)])).await;
        assert_eq!(walk(&world, &named("rare40"), false, 50).await, ["Rare400"]);
        // Times are bounds, the end not included.
        let middle = Timestamp(1_700_000_000_000_005);
        let filter = EndpointFilter { from: Some(middle), to: Some(Timestamp(middle.0 + 1)), ..EndpointFilter::default() };
        assert_eq!(world.store.endpoints_count(world.account, filter).await.unwrap(), 90);
    }

    async fn endpoints_are_ordered_by_name_byte_by_byte(database: Database) {
        let world = World::on(&database).await;
        let names = ["b", "B", "a", "_", "a-b", "ab", "a.b", "Z", "%C3%A9", "10", "9"];
        let all = crowd(&world, names.iter().map(|&name| name.to_owned())).await;
        let second = world.domain("second.example").await;
        let twin = world.phone(&second, "a").await;
        let mut expected: Vec<(String, [u8; 16])> = all.iter().map(|phone| (phone.name.clone(), phone.id.0)).collect();
        expected.push((twin.name.clone(), twin.id.0));
        expected.sort();
        expected.reverse();
        for backward in [false, true] {
            let mut slice: Slice<NameKey> = Slice { backward, limit: 2, after: None, before: None };
            let mut seen: Vec<(String, [u8; 16])> = Vec::new();
            loop {
                let page = world.store.endpoints_by_name(world.account, EndpointFilter::default(), slice.clone()).await.unwrap();
                let found: Vec<(String, [u8; 16])> = page.items.iter().map(|phone| (phone.name.clone(), phone.id.0)).collect();
                let key = |(name, id): &(String, [u8; 16])| NameKey { name: name.clone(), id: *id };
                let more = if backward {
                    slice.before = found.first().map(key);
                    seen.splice(0..0, found);
                    page.has_previous
                } else {
                    slice.after = found.last().map(key);
                    seen.extend(found);
                    page.has_next
                };
                if !more {
                    break;
                }
            }
            assert_eq!(seen, expected, "{backward}");
        }
        let found = world.store.endpoints_by_name(world.account, named("b"), Slice { backward: true, limit: 9, after: None, before: None }).await.unwrap();
        let found: Vec<&str> = found.items.iter().map(|phone| phone.name.as_str()).collect();
        assert_eq!(found, ["b", "ab", "a.b", "a-b", "B"]);
    }

    /// A text of one or two letters is looked for in the newest endpoints alone.
    async fn a_short_text_is_looked_for_up_to_a_bound(database: Database) {
        let world = World::on(&database).await;
        let all = crowd(&world, (0..21_500).map(|i| match i {
            0 => "first-qq".to_owned(),
            _ => format!("phone{i}"),
        })).await;
        let page = world.store.endpoints(world.account, named("e2"), first(50)).await.unwrap();
        assert_eq!((page.items.len(), page.has_next), (50, true));
        assert!(page.items.iter().all(|phone| phone.name.contains("e2")));
        for text in ["qq", "-q", "zz", "\u{e9}\u{e9}\u{e9}\u{e9}"] {
            let refused = world.store.endpoints(world.account, named(text), first(50)).await.unwrap_err();
            assert_eq!(refused.kind, ErrorKind::TooComplex, "{text}");
            let refused = world.store.endpoints_count(world.account, named(text)).await.unwrap_err();
            assert_eq!(refused.kind, ErrorKind::TooComplex, "{text}");
            let slice = Slice { backward: false, limit: 50, after: None, before: None };
            let refused = world.store.endpoints_by_name(world.account, named(text), slice).await.unwrap_err();
            assert_eq!(refused.kind, ErrorKind::TooComplex, "{text}");
        }
        // From its place on there are few enough.
        let near = &all[all.len() - 1000];
        let after = Some(PageKey { position: near.created_at.0, tie: near.id.0 });
        let page = world.store.endpoints(world.account, named("qq"), Slice { after, ..first(50) }).await.unwrap();
        assert_eq!(page.items.len(), 1);
        let page = world.store.endpoints(world.account, named("first-qq"), first(50)).await.unwrap();
        assert_eq!(page.items.len(), 1);
        let page = world.store.endpoints(world.account, named("absent"), first(50)).await.unwrap();
        assert_eq!((page.items.len(), page.has_next), (0, false));
    }
}
