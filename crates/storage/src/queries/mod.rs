//! Every read, and the few writes that are not commits. Noun-first names; each function is given the account first, and its
//! filter stands in the one function that starts a query on the table, so that it can't be forgotten.

pub(crate) mod accounts;
pub(crate) mod applications;
pub(crate) mod bindings;
pub(crate) mod chats;
pub(crate) mod deletions;
pub(crate) mod deliveries;
pub(crate) mod domains;
pub(crate) mod endpoints;
pub(crate) mod events;
pub(crate) mod instance;
pub(crate) mod messages;
pub(crate) mod registrations;
pub(crate) mod sealed;
pub(crate) mod sip_profiles;
pub(crate) mod tokens;

use super::{
    CALLER_SEARCHED, Conn, Db, EVENTS_WITH_TEXT, FOR_UPDATE, FOR_UPDATE_SKIP_LOCKED, FOUND_ORDERS,
    KEY_IN_USE, LISTS_MERGED, MESSAGE_FOUND, NAME_SEARCHED, ORDERS, Statements, candidates,
    candidates_few, claim_time, first_of_each, found_first, index_words, insert_text, load,
    load_over, load_up_to, run_over, search_terms,
};

use diesel::QueryResult;
use sipgraph_core::AccountId;

use crate::{
    rows::AccountKey,
    types::{DbId, Id},
};

/// Takes an account's row, which orders all writes of the account.
pub(crate) async fn account_lock(c: &mut Conn, account: AccountId) -> QueryResult<()> {
    let key = vec![AccountKey { id: account.into() }];
    let text = format!("SELECT t.id FROM {{rows}} JOIN accounts t ON t.id = k.id{FOR_UPDATE}");
    load_over::<_, DbId, Id>(c, &text, key).await.map(|_| ())
}
