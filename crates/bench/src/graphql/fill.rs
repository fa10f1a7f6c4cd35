//! The same endpoints, chats and messages on all sides, made by their databases: the product would write the same rows.
//!
//! Some endpoints are hubs: each has [`CHATS_OF_A_HUB`] chats with others, who have no other chat. A chat has two sides, and so
//! each message two copies.

use super::side::{Side, connect};
use crate::million::Id;
use crate::{Failure, Size};
use futures_util::{TryStreamExt as _, pin_mut};
use rusqlite::types::Value as SqliteValue;
use sipgraph_testkit::Database;
use std::path::Path;
use std::time::SystemTime;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

/// Chats of a hub: more than a page.
const CHATS_OF_A_HUB: u32 = 60;
/// Messages of a chat, and of one of those whose messages are paged through. Every third is from the other side.
const MESSAGES: u32 = 10;
const MESSAGES_OF_A_LONG_CHAT: u32 = 200;
/// Where a page of a long chat begins: this many messages are newer.
const NEWER: u32 = 20;
/// The tables that a copy of the product's database needs; each refers only to those before it.
const TABLES: [&str; 8] = [
    "accounts",
    "domains",
    "domain_names",
    "tokens",
    "endpoints",
    "chats",
    "messages",
    "search_positions",
];

const FIRST_NAMES: &str = "james,mary,john,linda,robert,susan,david,karen,maria,ivan,olga,anna,peter,yuki,chen,ahmed,fatima,carlos,\
    lucia,emma,noah,liam,lars,sven,nina,omar,priya,ravi,kofi,jorge,elena,boris,dmitri,sofia,hugo,marta,wei";
const LAST_NAMES: &str = "smith,jones,brown,garcia,miller,davis,wilson,moore,taylor,thomas,white,harris,clark,lewis,young,wright,hill,\
    green,baker,adams,nelson,carter,mitchell,perez,roberts,turner,phillips,campbell,parker,evans,edwards,collins,ivanov,petrov,\
    tanaka,nguyen,singh,king,walker,allen,scott";
const DEVICES: &str = "mobile,desk,soft,web,lobby,home,fax,door,conf,lab";

/// How much there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct World {
    pub(crate) endpoints: u32,
    /// Hubs; they are the endpoints 1 to this.
    hubs: u32,
    /// Chats whose messages are paged through.
    long: u32,
}

impl World {
    pub(crate) fn of(size: Size) -> Self {
        Self {
            endpoints: size.pick(20_000, 100_000),
            hubs: size.pick(20, 300),
            long: size.pick(50, 500),
        }
    }

    fn pairs(self) -> u32 {
        self.hubs * CHATS_OF_A_HUB
    }
}

/// The chats, by their ids on both sides.
#[derive(Default)]
pub(crate) struct Chats {
    /// The endpoints that have a page of them.
    pub(crate) hubs: Vec<[String; 2]>,
    /// Chats with more than a page of messages.
    pub(crate) long: Vec<Long>,
    /// A chat of a hub with another endpoint.
    pub(crate) pairs: Vec<Pair>,
}

/// A chat with more than a page of messages.
pub(crate) struct Long {
    pub(crate) chat: [String; 2],
    /// The place in it after which a page is asked for.
    pub(crate) after: [String; 2],
}

/// A chat of a hub with another endpoint.
pub(crate) struct Pair {
    pub(crate) chat: [String; 2],
    /// The hub, by its id in the reference.
    pub(crate) endpoint: String,
    /// Whether both endpoints are enabled: only they can send.
    pub(crate) is_enabled: bool,
}

/// A chat of the reference with the endpoint that has it: the hub's side of a pair. The first hubs are the same in every world.
pub(crate) fn chat_of(pair: usize) -> (usize, usize) {
    (
        2 * pair + 1,
        1 + pair % usize::try_from(World::of(Size::Small).hubs).unwrap_or(1),
    )
}

/// Parts of names, of which one of forty to one of four thousand has each.
pub(crate) fn words() -> impl Iterator<Item = String> {
    let first = FIRST_NAMES
        .split(',')
        .map(|name| name.chars().take(4).collect());
    let last = LAST_NAMES
        .split(',')
        .map(|name| name.chars().skip(1).take(4).collect());
    let both = LAST_NAMES.split(',').take(20).flat_map(|name| {
        let end: String = name.chars().skip(name.len() - 3).collect();
        DEVICES
            .split(',')
            .take(5)
            .map(move |device| format!("{end}_{}", &device[..2]))
    });
    first
        .chain(last)
        .chain(both)
        .filter(|word: &String| word.len() > 3)
}

/// The name of endpoint `i` in SQL; the steps are prime to the numbers of names.
fn name_in_sql() -> String {
    let array = |names: &str| format!("(string_to_array('{names}', ','))");
    format!(
        "{}[1 + ((i::bigint * 7919) % {})::int] || '.' || {}[1 + ((i::bigint * 104729 / 7) % {})::int] || '_' \
         || {}[1 + i % {}] || i",
        array(FIRST_NAMES),
        FIRST_NAMES.split(',').count(),
        array(LAST_NAMES),
        LAST_NAMES.split(',').count(),
        array(DEVICES),
        DEVICES.split(',').count(),
    )
}

/// How many messages pair `p` has, in SQL.
fn count_in_sql(world: World) -> String {
    format!(
        "(CASE WHEN p <= {} THEN {MESSAGES_OF_A_LONG_CHAT} ELSE {MESSAGES} END)",
        world.long
    )
}

/// An object's id as clients of the product see it, in SQL.
fn node_in_sql(kind: char, id: &str) -> String {
    format!(
        "rtrim(translate(encode('{kind}'::bytea || uuid_send({id}), 'base64'), '+/', '-_'), '=')"
    )
}

/// Fills the product's database, which has one domain.
pub(crate) async fn fill_ours(ours: &Side, world: World) -> Result<(), Failure> {
    let (name, endpoints, hubs, pairs) =
        (name_in_sql(), world.endpoints, world.hubs, world.pairs());
    let (count, body) = (count_in_sql(world), crate::world::BODY);
    let client = ours.database()?;
    client
        .batch_execute(&format!(
            "INSERT INTO endpoints (account_id, id, domain_id, domain_name, external_id, name, canonical_name, display_name, \
             description, caller_id, send_as, enabled, has_password, state, created_at, updated_at, version, bindings_revision, \
             capacity) SELECT d.account_id, gen_random_uuid(), d.id, d.name, i, {name}, {name}, 'phone', 'the phone of ' || i, \
             'Caller ' || i, '+1415' || (1000000 + i), i % 10 <> 0, FALSE, 0, to_timestamp(1700000000 + i), \
             to_timestamp(1700000000 + i), 1, 0, i % 3 FROM domains d, generate_series(1, {endpoints}) AS n(i);
             CREATE TEMP TABLE pairs AS SELECT p, h.account_id, h.id AS hub, o.id AS other, h.name || '@' || h.domain_name \
             AS hub_address, o.name || '@' || o.domain_name AS other_address, gen_random_uuid() AS hub_chat, gen_random_uuid() \
             AS other_chat, {count} AS count FROM generate_series(1, {pairs}) AS n(p) JOIN endpoints h \
             ON h.external_id = 1 + (p - 1) % {hubs} JOIN endpoints o ON o.external_id = {hubs} + p;
             CREATE TEMP TABLE told AS SELECT p, k, k % 3 <> 0 AS is_of_hub, (k - 1)::bigint * {pairs} + p AS number, \
             to_timestamp(1750000000 + ((k - 1)::bigint * {pairs} + p) * 0.001) AS at, gen_random_uuid() AS exchange \
             FROM pairs, generate_series(1, count) AS m(k);
             INSERT INTO messages (account_id, id, exchange_id, endpoint_id, chat_id, seq, log_seq, direction, origin, \
             sender_uri, recipient_uri, peer, body, content_type, status, is_read, created_at, status_at, expires_at) \
             SELECT account_id, (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' \
             || substr(md5(random()::text), 1, 3) || '8' || substr(md5(random()::text), 1, 15))::uuid, exchange, \
             CASE WHEN at_hub THEN hub ELSE other END, CASE WHEN at_hub THEN hub_chat ELSE other_chat END, k, \
             2 * number - at_hub::int, (is_of_hub = at_hub)::int, 0, \
             'sip:' || CASE WHEN is_of_hub THEN hub_address ELSE other_address END, \
             'sip:' || CASE WHEN is_of_hub THEN other_address ELSE hub_address END, \
             CASE WHEN at_hub THEN other_address ELSE hub_address END, '{body} (' || p || ', ' || k || ')', 'text/plain', \
             CASE WHEN is_of_hub = at_hub THEN 1 ELSE 3 END, is_of_hub = at_hub OR NOT (at_hub AND k <= 6 OR k = count), \
             at, at, CASE WHEN is_of_hub = at_hub THEN at + interval '3 days' END \
             FROM told JOIN pairs USING (p), (VALUES (TRUE), (FALSE)) AS side(at_hub) ORDER BY number;
             INSERT INTO chats (account_id, id, endpoint_id, own_number, peer, last_seq, last_message_id, unread_count, \
             message_count, activity_seq, created_at, updated_at) SELECT p.account_id, m.chat_id, m.endpoint_id, \
             CASE WHEN at_hub THEN hub_address ELSE other_address END, m.peer, count, m.id, 1 + at_hub::int, count, m.log_seq, \
             m.created_at, m.created_at FROM pairs p, (VALUES (TRUE), (FALSE)) AS side(at_hub), messages m \
             WHERE m.account_id = p.account_id AND m.chat_id = CASE WHEN at_hub THEN hub_chat ELSE other_chat END AND m.seq = count;
             UPDATE accounts SET head_seq = 2 * (SELECT max(number) FROM told);
             UPDATE accounts SET trimmed_seq = head_seq, last_external_id = {endpoints};
             INSERT INTO search_positions (account_id, seq) SELECT id, head_seq FROM accounts"
        ))
        .await?;
    for table in ["endpoints", "messages", "chats"] {
        client
            .batch_execute(&format!("VACUUM ANALYZE {table}"))
            .await?;
    }
    Ok(())
}

/// Fills the reference's database.
pub(crate) async fn fill_theirs(theirs: &Side, world: World) -> Result<(), Failure> {
    let (name, endpoints, hubs, pairs) =
        (name_in_sql(), world.endpoints, world.hubs, world.pairs());
    let (count, body) = (count_in_sql(world), crate::world::BODY);
    let client = theirs.database()?;
    client
        .batch_execute(&format!(
            "INSERT INTO accounts VALUES (1, 0);
             INSERT INTO endpoints SELECT i, 1, {name}, 'phone', 'Caller ' || i, '+1415' || (1000000 + i), 'the phone of ' || i, \
             i % 10 <> 0, 'default', 'OPUS,G722', 'AES_CM_128_HMAC_SHA1_80', 'udp', i % 3, to_timestamp(1700000000 + i), \
             to_timestamp(1700000000 + i) FROM generate_series(1, {endpoints}) AS n(i);
             CREATE TEMP TABLE told AS SELECT p, k, k % 3 <> 0 AS is_of_hub, (k - 1)::bigint * {pairs} + p AS number, \
             1 + (p - 1) % {hubs} AS hub, {hubs} + p AS other, {count} AS count, \
             to_timestamp(1750000000 + ((k - 1)::bigint * {pairs} + p) * 0.001) AS at \
             FROM generate_series(1, {pairs}) AS n(p), generate_series(1, {count}) AS m(k);
             INSERT INTO messages (id, chat_id, sender_id, incoming, body, status, is_read, created_at) \
             SELECT 2 * number - at_hub::int, 2 * p - at_hub::int, CASE WHEN is_of_hub THEN hub ELSE other END, \
             is_of_hub <> at_hub, '{body} (' || p || ', ' || k || ')', \
             CASE WHEN is_of_hub = at_hub THEN 'sent' ELSE 'received' END, \
             is_of_hub = at_hub OR NOT (at_hub AND k <= 6 OR k = count), at \
             FROM told, (VALUES (TRUE), (FALSE)) AS side(at_hub) ORDER BY number;
             INSERT INTO chats SELECT 2 * p - at_hub::int, 2 * p - 1 + at_hub::int, CASE WHEN at_hub THEN hub ELSE other END, \
             CASE WHEN at_hub THEN other ELSE hub END, 'direct', NULL, 2 * number - at_hub::int, 1 + at_hub::int, count, at \
             FROM told, (VALUES (TRUE), (FALSE)) AS side(at_hub) WHERE k = count;
             SELECT setval(pg_get_serial_sequence('messages', 'id'), max(id)) FROM messages"
        ))
        .await?;
    for table in ["endpoints", "messages", "chats"] {
        client
            .batch_execute(&format!("VACUUM ANALYZE {table}"))
            .await?;
    }
    Ok(())
}

/// Reads the ids of the chats.
pub(crate) async fn chats(ours: &Side, world: World) -> Result<Chats, Failure> {
    const AFTER: &str = "query($id: ID!, $first: Int!) { chat(id: $id) { messages(first: $first) { pageInfo { endCursor } } } }";
    let client = ours.database()?;
    let (hubs, pairs) = (world.hubs, world.pairs());
    let text = format!(
        "SELECT {} FROM endpoints WHERE external_id <= {hubs} ORDER BY external_id",
        node_in_sql('E', "id")
    );
    let mut chats = Chats::default();
    for (row, number) in client.query(&text, &[]).await?.iter().zip(1_u32..) {
        chats.hubs.push([row.get(0), number.to_string()]);
    }
    let text = format!(
        "SELECT p::int, {} FROM pairs ORDER BY p",
        node_in_sql('C', "hub_chat")
    );
    for row in client.query(&text, &[]).await? {
        let number = u32::try_from(row.get::<_, i32>(0))?;
        let (hub, other) = (1 + (number - 1) % hubs, hubs + number);
        let chat = [row.get(1), (2 * number - 1).to_string()];
        if number <= world.long {
            let variables = serde_json::json!({ "id": &chat[0], "first": NEWER });
            let data = ours.data(AFTER, variables).await?;
            let cursor = data["chat"]["messages"]["pageInfo"]["endCursor"].as_str();
            // The reference has no cursor; its ids are numbered as the messages are.
            let last =
                u64::from(MESSAGES_OF_A_LONG_CHAT - NEWER) * u64::from(pairs) + u64::from(number);
            chats.long.push(Long {
                chat: chat.clone(),
                after: [
                    cursor.ok_or("a chat has no messages")?.to_owned(),
                    (2 * last - 1).to_string(),
                ],
            });
        }
        chats.pairs.push(Pair {
            chat,
            endpoint: hub.to_string(),
            is_enabled: hub % 10 != 0 && other % 10 != 0,
        });
    }
    Ok(chats)
}

/// What makes messages of the hubs unread again, for both databases of the product.
fn unread_ours(world: World) -> String {
    let chats = format!(
        "SELECT c.id FROM chats c JOIN endpoints e ON e.account_id = c.account_id AND e.id = c.endpoint_id \
         WHERE e.external_id <= {} AND c.unread_count = 0",
        world.hubs
    );
    format!(
        "UPDATE messages SET is_read = FALSE WHERE direction = 0 AND seq <= 6 AND chat_id IN ({chats});
         UPDATE chats SET unread_count = 2 WHERE id IN ({chats})"
    )
}

/// Makes two messages of each chat of a hub unread again.
pub(crate) async fn unread(sides: &[&Side], world: World) -> Result<(), Failure> {
    for side in sides {
        match &side.file {
            Some(file) => {
                let connection = rusqlite::Connection::open(file)?;
                connection.busy_timeout(std::time::Duration::from_secs(30))?;
                let text = format!("BEGIN IMMEDIATE; {}; COMMIT", unread_ours(world));
                tokio::task::block_in_place(|| connection.execute_batch(&text))?;
            }
            None if side.is_ours() => {
                side.database()?.batch_execute(&unread_ours(world)).await?;
            }
            None => {
                let text = format!(
                    "UPDATE messages SET is_read = FALSE WHERE incoming AND id <= 12::bigint * {} AND chat_id IN \
                     (SELECT id FROM chats WHERE endpoint_id <= {} AND unread_count = 0);
                     UPDATE chats SET unread_count = 2 WHERE endpoint_id <= {} AND unread_count = 0",
                    world.pairs(),
                    world.hubs,
                    world.hubs,
                );
                side.database()?.batch_execute(&text).await?;
            }
        }
    }
    Ok(())
}

/// Copies the product's rows from Postgres into an SQLite file that the program has made.
pub(crate) async fn copy(from: &Database, file: &Path) -> Result<(), Failure> {
    let client = connect(from).await?;
    let mut to = rusqlite::Connection::open(file)?;
    // The copy may lose its rows; the cache holds the indexes, which are entered at random.
    to.execute_batch("PRAGMA synchronous=OFF; PRAGMA cache_size=-262144; PRAGMA foreign_keys=OFF")?;
    let transaction = to.transaction()?;
    for table in TABLES {
        transaction.execute_batch(&format!("DELETE FROM {table}"))?;
        let rows = client
            .query_raw::<_, i32, _>(&format!("SELECT * FROM {table}"), [])
            .await?;
        pin_mut!(rows);
        let mut insert = None;
        while let Some(row) = rows.try_next().await? {
            let insert = match &mut insert {
                Some(insert) => insert,
                none => {
                    let names: Vec<&str> = row.columns().iter().map(|c| c.name()).collect();
                    let marks = vec!["?"; names.len()].join(", ");
                    let names = names.join(", ");
                    let text = format!("INSERT INTO {table} ({names}) VALUES ({marks})");
                    none.insert(transaction.prepare(&text)?)
                }
            };
            let values: Result<Vec<_>, _> =
                (0..row.len()).map(|place| value(&row, place)).collect();
            insert.execute(rusqlite::params_from_iter(values?))?;
        }
    }
    transaction.commit()?;
    // No ANALYZE: the product never does, and with its samples SQLite compiles a statement anew for each value compared with a column.
    to.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(())
}

/// A value of Postgres as SQLite has it.
fn value(row: &Row, place: usize) -> Result<SqliteValue, Failure> {
    let kind = row.columns()[place].type_();
    let value = if *kind == Type::UUID {
        let id: Option<Id> = row.try_get(place)?;
        id.map(|id| SqliteValue::Blob(id.0.to_vec()))
    } else if *kind == Type::BYTEA {
        row.try_get::<_, Option<_>>(place)?.map(SqliteValue::Blob)
    } else if *kind == Type::TEXT {
        row.try_get::<_, Option<_>>(place)?.map(SqliteValue::Text)
    } else if *kind == Type::BOOL {
        let value: Option<bool> = row.try_get(place)?;
        value.map(|value| SqliteValue::Integer(value.into()))
    } else if *kind == Type::INT2 {
        let value: Option<i16> = row.try_get(place)?;
        value.map(|value| SqliteValue::Integer(value.into()))
    } else if *kind == Type::INT4 {
        let value: Option<i32> = row.try_get(place)?;
        value.map(|value| SqliteValue::Integer(value.into()))
    } else if *kind == Type::INT8 {
        row.try_get::<_, Option<_>>(place)?
            .map(SqliteValue::Integer)
    } else if *kind == Type::TIMESTAMPTZ {
        let at: Option<SystemTime> = row.try_get(place)?;
        let micros = at
            .map(|at| at.duration_since(SystemTime::UNIX_EPOCH))
            .transpose()?;
        let micros = micros
            .map(|since| i64::try_from(since.as_micros()))
            .transpose()?;
        micros.map(SqliteValue::Integer)
    } else {
        return Err(format!("no value of SQLite for {kind}").into());
    };
    Ok(value.unwrap_or(SqliteValue::Null))
}
