//! Look-ups of several callers in one statement. Only where each statement costs a way to the server is that a gain, so this
//! is for Postgres alone.

use std::collections::{BTreeSet, HashMap};

use diesel::{
    QueryResult,
    pg::Pg,
    prelude::*,
    query_builder::{AstPass, QueryFragment},
    sql_types::{Array, Bool, Nullable, Text},
};
use sipgraph_core::{
    AccountId, ChatId, EndpointId,
    chat::{Chat, ChatKey},
    endpoint::Endpoint,
    ports::store::{EndpointKey, Found, SendSnapshot},
    token::ApiToken,
};

use super::{Conn, load, load_over, queries::deletions::chat_there};
use crate::{
    rows::{ChatKeyRow, ChatRow, EndpointRow, TokenRow},
    schema::{chats, endpoints, tokens},
    sql::{Fixed, columns, condition},
    types::{DbId, Id},
};

columns! {
    /// A canonical name in a domain that is named.
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
    struct NameAsked {
        account_id: DbId => Id,
        domain: Text => String,
        name: Text => String,
    }
}

/// An object's place in the tables.
type Place = (Id, Id);

/// Which rows have one of these places: `(account, id)` of the columns named.
#[derive(Debug, Clone)]
struct Among {
    columns: &'static str,
    accounts: Vec<Id>,
    ids: Vec<Id>,
}

impl Among {
    fn new(columns: &'static str, places: &BTreeSet<Place>) -> Self {
        let (accounts, ids) = places.iter().copied().unzip();
        Self {
            columns,
            accounts,
            ids,
        }
    }
}

condition!(Among);

impl QueryFragment<Pg> for Among {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(self.columns);
        out.push_sql(" IN (SELECT * FROM unnest(");
        out.push_bind_param::<Array<DbId>, Vec<Id>>(&self.accounts)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<DbId>, Vec<Id>>(&self.ids)?;
        out.push_sql("))");
        Ok(())
    }
}

/// The tokens whose secrets have these hashes.
pub(crate) async fn tokens_by_hashes(
    c: &mut Conn,
    hashes: Vec<[u8; 32]>,
) -> QueryResult<Vec<Option<ApiToken>>> {
    let distinct: BTreeSet<&[u8]> = hashes.iter().map(|hash| &hash[..]).collect();
    let wanted: Vec<Vec<u8>> = distinct.into_iter().map(<[u8]>::to_vec).collect();
    let query = tokens::table
        .filter(tokens::secret_hash.eq_any(wanted))
        .select((tokens::secret_hash, TokenRow::as_select()));
    let rows: Vec<(Vec<u8>, TokenRow)> = load(c, query).await?;
    let mut found = HashMap::with_capacity(rows.len());
    for (hash, row) in rows {
        found.insert(hash, ApiToken::try_from(row)?);
    }
    Ok(hashes
        .iter()
        .map(|hash| found.get(&hash[..]).cloned())
        .collect())
}

/// The endpoints with these ids.
pub(crate) async fn endpoints_by_places(
    c: &mut Conn,
    places: Vec<(AccountId, EndpointId)>,
) -> QueryResult<Vec<Found<Endpoint>>> {
    let places: Vec<Place> = places
        .into_iter()
        .map(|(account, id)| (account.into(), id.into()))
        .collect();
    let query = endpoints::table
        .filter(among_endpoints(&places.iter().copied().collect()))
        .select(EndpointRow::as_select());
    let rows: Vec<EndpointRow> = load(c, query).await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let endpoint = Endpoint::try_from(row)?;
        found.insert(place_of(&endpoint), endpoint);
    }
    Ok(places.iter().map(|place| one(found.get(place))).collect())
}

/// The chats with these ids.
pub(crate) async fn chats_by_places(
    c: &mut Conn,
    places: Vec<(AccountId, ChatId)>,
) -> QueryResult<Vec<Option<Chat>>> {
    let places: Vec<Place> = places
        .into_iter()
        .map(|(account, id)| (account.into(), id.into()))
        .collect();
    let query = chats::table
        .filter(Among::new(
            "(chats.account_id, chats.id)",
            &places.iter().copied().collect(),
        ))
        .filter(chat_there())
        .select(ChatRow::as_select());
    let rows: Vec<ChatRow> = load(c, query).await?;
    let mut found: HashMap<Place, Chat> = HashMap::with_capacity(rows.len());
    for row in rows {
        let chat = Chat::try_from(row)?;
        found.insert((chat.account.into(), chat.id.into()), chat);
    }
    Ok(places
        .iter()
        .map(|place| found.get(place).cloned())
        .collect())
}

/// What a send is asked of: the sender by its id, the recipient by its id or by its name in a domain.
#[derive(Debug, Clone)]
pub(crate) struct SendAsked {
    account: Id,
    sender: Id,
    recipient: Recipient,
}

#[derive(Debug, Clone)]
enum Recipient {
    Id(Id),
    Name(NameAsked),
}

impl SendAsked {
    /// Makes one of the keys of a send; `None` for keys that need more look-ups.
    pub(crate) fn new(
        account: AccountId,
        sender: &EndpointKey,
        recipient: Option<&EndpointKey>,
    ) -> Option<Self> {
        let EndpointKey::Id(sender) = sender else {
            return None;
        };
        let recipient = match recipient? {
            EndpointKey::Id(id) => Recipient::Id((*id).into()),
            EndpointKey::Name {
                domain: Some(domain),
                canonical,
            } => Recipient::Name(NameAsked {
                account_id: account.into(),
                domain: domain.clone(),
                name: canonical.clone(),
            }),
            EndpointKey::Name { domain: None, .. } | EndpointKey::Number(_) => return None,
        };
        Some(Self {
            account: account.into(),
            sender: (*sender).into(),
            recipient,
        })
    }
}

/// What sends are decided on. It needs no transaction: what a commit rests on it names as preconditions.
pub(crate) async fn send_snapshots(
    c: &mut Conn,
    asked: Vec<SendAsked>,
) -> QueryResult<Vec<SendSnapshot>> {
    let names = named(c, &asked).await?;
    let recipient_of = |send: &SendAsked| match &send.recipient {
        Recipient::Id(id) => Some(*id),
        Recipient::Name(name) => names.get(name).copied().flatten(),
    };
    let places: BTreeSet<Place> = asked
        .iter()
        .flat_map(|send| {
            let both = [Some(send.sender), recipient_of(send)];
            both.into_iter().flatten().map(|id| (send.account, id))
        })
        .collect();
    let query = endpoints::table.filter(among_endpoints(&places)).select((
        EndpointRow::as_select(),
        Fixed::<Nullable<Bool>>::new(
            "(SELECT d.record_internal_messages FROM domains d WHERE d.account_id = endpoints.account_id \
             AND d.id = endpoints.domain_id)",
        ),
    ));
    let rows: Vec<(EndpointRow, Option<bool>)> = load(c, query).await?;
    let mut parties: HashMap<Place, (Endpoint, bool)> = HashMap::with_capacity(rows.len());
    for (row, record_internal) in rows {
        let endpoint = Endpoint::try_from(row)?;
        parties.insert(
            place_of(&endpoint),
            (endpoint, record_internal.unwrap_or(false)),
        );
    }
    let party = |account: Id, id: Id| parties.get(&(account, id));
    let keys_of = |send: &SendAsked| {
        let (from, _) = party(send.account, send.sender)?;
        let (to, _) = party(send.account, recipient_of(send)?)?;
        Some([chat_key(from, to), chat_key(to, from)])
    };
    let keys: BTreeSet<ChatKeyRow> = asked.iter().filter_map(keys_of).flatten().collect();
    let chats = chats_with(c, keys).await?;
    Ok(asked
        .iter()
        .map(|send| {
            let from = party(send.account, send.sender);
            let to = recipient_of(send).and_then(|id| party(send.account, id));
            let [sender_chat, recipient_chat] = keys_of(send).map_or([None, None], |keys| {
                keys.map(|key| chats.get(&key).copied())
            });
            SendSnapshot {
                sender: one(from.map(|(endpoint, _)| endpoint)),
                recipient: one(to.map(|(endpoint, _)| endpoint)),
                record_internal: from.is_some_and(|(_, record_internal)| *record_internal),
                sender_chat,
                recipient_chat,
                is_own_domain: match &send.recipient {
                    Recipient::Id(_) => false,
                    Recipient::Name(name) => names.contains_key(name),
                },
            }
        })
        .collect())
}

/// The endpoints with the names asked for; a name in a domain that the account does not have is left out.
async fn named(c: &mut Conn, asked: &[SendAsked]) -> QueryResult<HashMap<NameAsked, Option<Id>>> {
    let names: BTreeSet<NameAsked> = asked
        .iter()
        .filter_map(|send| match &send.recipient {
            Recipient::Id(_) => None,
            Recipient::Name(name) => Some(name.clone()),
        })
        .collect();
    let text = "SELECT k.account_id, k.domain, k.name, e.id FROM {rows} \
                JOIN domain_names n ON n.name = k.domain AND n.account_id = k.account_id \
                LEFT JOIN endpoints e ON e.account_id = k.account_id AND e.domain_id = n.domain_id \
                AND e.canonical_name = k.name";
    type Sql = (DbId, Text, Text, Nullable<DbId>);
    type Row = (Id, String, String, Option<Id>);
    let rows = load_over::<_, Sql, Row>(c, text, names.into_iter().collect()).await?;
    Ok(rows
        .into_iter()
        .map(|(account_id, domain, name, id)| {
            let name = NameAsked {
                account_id,
                domain,
                name,
            };
            (name, id)
        })
        .collect())
}

/// Those of the chats with these keys that are there.
async fn chats_with(
    c: &mut Conn,
    keys: BTreeSet<ChatKeyRow>,
) -> QueryResult<HashMap<ChatKeyRow, ChatId>> {
    let text = "SELECT t.account_id, t.endpoint_id, t.own_number, t.peer, t.id FROM {rows} \
                JOIN chats t ON t.account_id = k.account_id AND t.endpoint_id = k.endpoint_id \
                AND t.own_number = k.own_number AND t.peer = k.peer";
    type Sql = (DbId, DbId, Text, Text, DbId);
    type Row = (Id, Id, String, String, Id);
    let rows = load_over::<_, Sql, Row>(c, text, keys.into_iter().collect()).await?;
    Ok(rows
        .into_iter()
        .map(|(account_id, endpoint_id, own_number, peer, id)| {
            let key = ChatKeyRow {
                account_id,
                endpoint_id,
                own_number,
                peer,
            };
            (key, id.into())
        })
        .collect())
}

/// The key of the chat of one endpoint with another, by their addresses.
fn chat_key(own: &Endpoint, peer: &Endpoint) -> ChatKeyRow {
    let key = ChatKey {
        endpoint: own.id,
        own_number: own.address(),
        peer: peer.address(),
    };
    ChatKeyRow::new(own.account, &key)
}

fn among_endpoints(places: &BTreeSet<Place>) -> Among {
    Among::new("(endpoints.account_id, endpoints.id)", places)
}

fn place_of(endpoint: &Endpoint) -> Place {
    (endpoint.account.into(), endpoint.id.into())
}

fn one(endpoint: Option<&Endpoint>) -> Found<Endpoint> {
    endpoint.map_or(Found::None, |endpoint| Found::One(endpoint.clone()))
}
