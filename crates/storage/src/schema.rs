//! The tables, one description for both backends. A test compares it with what the migrations make.

macro_rules! tables {
    ($($name:ident ($($key:ident),+) { $($column:ident -> $sql:ty,)+ })*) => {
        $(diesel::table! {
            use diesel::sql_types::*;
            use crate::types::{DbId, DbTime};

            $name ($($key),+) { $($column -> $sql,)+ }
        })*

        /// Every table with its columns, for the test that compares them with the migrations.
        #[cfg(test)]
        pub(crate) const TABLES: &[(&str, &[&str])] =
            &[$((stringify!($name), &[$(stringify!($column)),+])),*];
    };
}

// Only those that are joined: each further pair costs time to compile.
diesel::allow_tables_to_appear_in_same_query!(accounts, events, messages);
diesel::allow_tables_to_appear_in_same_query!(accounts, sip_profiles);
diesel::allow_tables_to_appear_in_same_query!(bindings, endpoints);
diesel::allow_tables_to_appear_in_same_query!(domains, domain_names);
diesel::allow_tables_to_appear_in_same_query!(endpoint_tokens, endpoint_token_credentials);
diesel::allow_tables_to_appear_in_same_query!(endpoints, account_numbers);

tables! {
    instance (id) {
        id -> SmallInt,
        key_id -> Text,
        created_at -> DbTime,
        previous_key_id -> Nullable<Text>,
        key_replaced_at -> Nullable<DbTime>,
    }
    accounts (id) {
        id -> DbId,
        name -> Text,
        created_at -> DbTime,
        epoch -> BigInt,
        head_seq -> BigInt,
        head_check -> BigInt,
        trimmed_seq -> BigInt,
        last_external_id -> BigInt,
        unique_names -> Bool,
    }
    sip_profiles (account_id) {
        account_id -> DbId,
        default_ciphers -> Text,
        default_codecs -> Text,
        default_encryption -> SmallInt,
        default_send_as -> Nullable<Text>,
        version -> BigInt,
        is_begun -> Bool,
    }
    account_numbers (number) {
        number -> Text,
        account_id -> DbId,
        endpoint_id -> Nullable<DbId>,
    }
    domains (account_id, id) {
        account_id -> DbId,
        id -> DbId,
        name -> Text,
        description -> Nullable<Text>,
        digest_algorithms -> Text,
        record_internal_messages -> Bool,
        created_at -> DbTime,
        version -> BigInt,
    }
    domain_names (name) {
        name -> Text,
        account_id -> DbId,
        domain_id -> DbId,
        is_alias -> Bool,
    }
    applications (account_id, id) {
        account_id -> DbId,
        id -> DbId,
        name -> Text,
        callback_url -> Nullable<Text>,
        callback_method -> SmallInt,
        created_at -> DbTime,
        version -> BigInt,
    }
    domain_deletions (account_id, domain_id) {
        account_id -> DbId,
        domain_id -> DbId,
        created_at -> DbTime,
    }
    endpoint_deletions (account_id, endpoint_id) {
        account_id -> DbId,
        endpoint_id -> DbId,
        created_at -> DbTime,
    }
    chat_clearings (account_id, chat_id) {
        account_id -> DbId,
        chat_id -> DbId,
        endpoint_id -> DbId,
        up_to_seq -> BigInt,
        up_to_event -> BigInt,
        created_at -> DbTime,
    }
    search_positions (account_id) {
        account_id -> DbId,
        seq -> BigInt,
    }
    endpoints (account_id, id) {
        account_id -> DbId,
        id -> DbId,
        domain_id -> DbId,
        domain_name -> Text,
        external_id -> BigInt,
        name -> Text,
        canonical_name -> Text,
        display_name -> Nullable<Text>,
        description -> Nullable<Text>,
        enabled -> Bool,
        has_password -> Bool,
        simulation -> Nullable<SmallInt>,
        state -> SmallInt,
        created_at -> DbTime,
        updated_at -> DbTime,
        version -> BigInt,
        bindings_revision -> BigInt,
        kind -> SmallInt,
        application_id -> Nullable<DbId>,
        digest_algorithms -> Text,
        caller_id -> Nullable<Text>,
        send_as -> Nullable<Text>,
        allow_outside -> Bool,
        ciphers -> Nullable<Text>,
        codecs -> Nullable<Text>,
        encryption -> SmallInt,
        capacity -> Integer,
        cps_limit -> Nullable<Integer>,
        auth_required -> Bool,
        nested -> Nullable<Text>,
        out_sip_username -> Nullable<Text>,
        has_out_sip_password -> Bool,
        numbers -> Nullable<Text>,
    }
    endpoint_secrets (account_id, endpoint_id, kind, item_id) {
        account_id -> DbId,
        endpoint_id -> DbId,
        kind -> SmallInt,
        item_id -> DbId,
        key_id -> Text,
        sealed -> Binary,
    }
    credentials (account_id, endpoint_id, algorithm, charset) {
        account_id -> DbId,
        endpoint_id -> DbId,
        algorithm -> SmallInt,
        charset -> SmallInt,
        key_id -> Text,
        sealed -> Binary,
    }
    bindings (account_id, id) {
        account_id -> DbId,
        id -> DbId,
        endpoint_id -> DbId,
        contact_uri -> Text,
        transport -> SmallInt,
        remote -> Text,
        local -> Text,
        node_id -> DbId,
        connection -> BigInt,
        call_id -> Text,
        cseq -> BigInt,
        instance -> Nullable<Text>,
        reg_id -> Nullable<BigInt>,
        user_agent -> Nullable<Text>,
        registered_at -> DbTime,
        refreshed_at -> DbTime,
        expires_at -> DbTime,
        path -> Nullable<Text>,
        status -> SmallInt,
        round_trip_us -> Nullable<BigInt>,
        qualified_at -> Nullable<DbTime>,
        endpoint_token_id -> Nullable<DbId>,
    }
    endpoint_tokens (account_id, id) {
        account_id -> DbId,
        id -> DbId,
        endpoint_id -> DbId,
        created_at -> DbTime,
        expires_at -> DbTime,
        revoked_at -> Nullable<DbTime>,
    }
    endpoint_token_credentials (account_id, token_id, algorithm) {
        account_id -> DbId,
        token_id -> DbId,
        algorithm -> SmallInt,
        key_id -> Text,
        sealed -> Binary,
    }
    registration_failures (account_id, id) {
        account_id -> DbId,
        id -> DbId,
        failed_at -> DbTime,
        failures -> BigInt,
        domain_id -> DbId,
        endpoint_id -> Nullable<DbId>,
        aor -> Text,
        source -> Text,
        transport -> SmallInt,
        reason -> SmallInt,
    }
    ban_lifts (account_id, source) {
        account_id -> DbId,
        source -> Text,
        lifted_at -> DbTime,
    }
    chats (account_id, id) {
        account_id -> DbId,
        id -> DbId,
        endpoint_id -> DbId,
        own_number -> Text,
        peer -> Text,
        last_seq -> BigInt,
        last_message_id -> Nullable<DbId>,
        unread_count -> BigInt,
        message_count -> BigInt,
        activity_seq -> BigInt,
        created_at -> DbTime,
        updated_at -> DbTime,
    }
    messages (account_id, id) {
        account_id -> DbId,
        id -> DbId,
        exchange_id -> DbId,
        endpoint_id -> DbId,
        chat_id -> DbId,
        seq -> BigInt,
        log_seq -> BigInt,
        direction -> SmallInt,
        origin -> SmallInt,
        sender_uri -> Text,
        recipient_uri -> Text,
        peer -> Text,
        body -> Text,
        content_type -> Text,
        status -> SmallInt,
        failure_code -> Nullable<SmallInt>,
        failure_sip_status -> Nullable<Integer>,
        failure_reason -> Nullable<Text>,
        is_read -> Bool,
        created_at -> DbTime,
        status_at -> DbTime,
        expires_at -> Nullable<DbTime>,
        sender_number -> Nullable<Text>,
        recipient_number -> Nullable<Text>,
        variables -> Nullable<Text>,
        status_seq -> Nullable<BigInt>,
        delivered_at -> Nullable<DbTime>,
        displayed_at -> Nullable<DbTime>,
        token_id -> Nullable<DbId>,
        idempotency_key -> Nullable<Text>,
    }
    dispatches (account_id, id) {
        account_id -> DbId,
        id -> DbId,
        sender_id -> DbId,
        recipient_id -> DbId,
        out_message_id -> Nullable<DbId>,
        sender_uri -> Text,
        recipient_uri -> Text,
        body -> Text,
        content_type -> Text,
        taken -> Bool,
        rounds -> Integer,
        created_at -> DbTime,
        expires_at -> DbTime,
        due_at -> DbTime,
        lease -> BigInt,
        leased_until -> Nullable<DbTime>,
        way -> SmallInt,
        called -> Nullable<Text>,
        sender_name -> Nullable<Text>,
        variables -> Nullable<Text>,
    }
    deliveries (account_id, id) {
        account_id -> DbId,
        id -> DbId,
        exchange_id -> DbId,
        target_id -> DbId,
        contact_uri -> Text,
        transport -> SmallInt,
        call_id -> Text,
        from_tag -> Text,
        cseq -> BigInt,
        branch -> Text,
        attempt -> Integer,
        started_at -> DbTime,
        finished_at -> Nullable<DbTime>,
        sip_status -> Nullable<Integer>,
        reason -> Nullable<Text>,
        outcome -> SmallInt,
        target_kind -> SmallInt,
        recipient_id -> DbId,
        out_message_id -> Nullable<DbId>,
        retry_at -> Nullable<DbTime>,
    }
    events (account_id, seq) {
        account_id -> DbId,
        seq -> BigInt,
        id -> DbId,
        check_bits -> BigInt,
        happened_at -> DbTime,
        kind -> SmallInt,
        endpoint_id -> Nullable<DbId>,
        domain_id -> Nullable<DbId>,
        chat_id -> Nullable<DbId>,
        message_id -> Nullable<DbId>,
        body -> Text,
        text -> Nullable<Text>,
    }
    idempotency (account_id, actor, operation, call_key) {
        account_id -> DbId,
        actor -> DbId,
        operation -> Text,
        call_key -> Text,
        input -> Binary,
        result -> Binary,
        created_at -> DbTime,
    }
    tokens (account_id, id) {
        account_id -> DbId,
        id -> DbId,
        name -> Text,
        secret_hash -> Binary,
        scopes -> Text,
        endpoint_ids -> Nullable<Binary>,
        created_at -> DbTime,
        expires_at -> Nullable<DbTime>,
        revoked_at -> Nullable<DbTime>,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use sipgraph_testkit::{Backend, Database, block_on};

    use super::TABLES;
    use crate::{Address, migrate};

    type Columns = BTreeMap<String, Vec<String>>;

    fn expected() -> Columns {
        TABLES
            .iter()
            .map(|(table, columns)| {
                let mut columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
                columns.sort();
                ((*table).to_owned(), columns)
            })
            .collect()
    }

    async fn migrated(backend: Backend) -> Database {
        let database = Database::create(backend).await;
        migrate(&Address::parse(database.url()).unwrap())
            .await
            .unwrap();
        database
    }

    #[test]
    fn the_sqlite_migrations_make_these_tables() {
        block_on(async {
            let database = migrated(Backend::Sqlite).await;
            let connection = rusqlite::Connection::open(database.file().unwrap()).unwrap();
            let mut found = Columns::new();
            let mut statement = connection
                .prepare(
                    "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c \
                     WHERE m.type = 'table' AND m.name NOT LIKE '\\_%' ESCAPE '\\' AND m.name NOT LIKE 'sqlite%' ORDER BY 1, 2",
                )
                .unwrap();
            let rows = statement
                .query_map([], |row| {
                    Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
                })
                .unwrap();
            for row in rows {
                let (table, column) = row.unwrap();
                found.entry(table).or_default().push(column);
            }
            assert_eq!(found, expected());
        });
    }

    #[test]
    fn the_postgres_migrations_make_these_tables() {
        block_on(async {
            let database = migrated(Backend::Postgres).await;
            let (client, connection) =
                tokio_postgres::connect(database.url(), tokio_postgres::NoTls)
                    .await
                    .unwrap();
            tokio::spawn(connection);
            let rows = client
                .query(
                    "SELECT table_name, column_name FROM information_schema.columns \
                     WHERE table_schema = 'public' AND table_name NOT LIKE '\\_%' ORDER BY 1, 2",
                    &[],
                )
                .await
                .unwrap();
            let mut found = Columns::new();
            for row in rows {
                found
                    .entry(row.get::<_, String>(0))
                    .or_default()
                    .push(row.get(1));
            }
            assert_eq!(found, expected());
        });
    }
}
