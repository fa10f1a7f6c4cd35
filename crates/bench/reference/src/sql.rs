//! The statements, each prepared once a connection.

macro_rules! endpoint_columns {
    () => {
        "id, domain_id, username, type, caller_id, send_as, description, enabled, encryption, codecs, ciphers, transport, \
         capacity, created_at, updated_at"
    };
}

pub(crate) const ENDPOINT: &str = concat!(
    "SELECT ",
    endpoint_columns!(),
    " FROM endpoints WHERE id = $1"
);
pub(crate) const ENDPOINTS: &str = concat!(
    "SELECT ",
    endpoint_columns!(),
    " FROM endpoints WHERE enabled = $1 AND username LIKE '%' || $2 || '%' ORDER BY created_at DESC, id DESC LIMIT $3"
);
pub(crate) const ENDPOINTS_BY_IDS: &str = concat!(
    "SELECT ",
    endpoint_columns!(),
    " FROM endpoints WHERE id = ANY($1)"
);
pub(crate) const CHATS: &str = "SELECT id, kind, title, unread_count, last_message_at, peer_id, last_message_id FROM chats \
     WHERE endpoint_id = $1 ORDER BY last_message_at DESC, id DESC LIMIT $2";
pub(crate) const MESSAGES: &str = "SELECT id, chat_id, sender_id, body, status, created_at FROM messages \
     WHERE chat_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
pub(crate) const MESSAGES_BY_IDS: &str =
    "SELECT id, chat_id, sender_id, body, status, created_at FROM messages WHERE id = ANY($1)";

// A send: the chat that it is in, the numbers of its events, which no other transaction of the account can take before this
// one has ended, both copies, both chats, the message on its way, its events and its key.
pub(crate) const SEND_CHAT: &str =
    "SELECT counterpart_id, peer_id FROM chats WHERE id = $1 AND endpoint_id = $2";
pub(crate) const TAKE_NUMBERS: &str =
    "UPDATE accounts SET head_seq = head_seq + $1::bigint WHERE id = 1 RETURNING head_seq";
pub(crate) const SEND_MESSAGES: &str = "INSERT INTO messages (chat_id, sender_id, incoming, body, status, is_read, created_at) \
     VALUES ($1::bigint, $3::bigint, FALSE, $4::text, 'accepted', TRUE, now()), \
     ($2::bigint, $3, TRUE, $4, 'received', FALSE, now()) \
     RETURNING id, chat_id, sender_id, body, status, created_at";
pub(crate) const SEND_CHATS: &str = "UPDATE chats SET last_message_id = CASE WHEN id = $1 THEN $3::bigint ELSE $4::bigint END, \
     last_message_at = $5, message_count = message_count + 1, unread_count = unread_count + (id = $2)::int WHERE id IN ($1, $2)";
pub(crate) const SEND_DISPATCH: &str = "INSERT INTO dispatches (message_id, sender_id, recipient_id, body, created_at, \
     expires_at, due_at) VALUES ($1, $2, $3, $4, $5::timestamptz, $5 + interval '3 days', $5)";
pub(crate) const SEND_EVENTS: &str = "INSERT INTO events (account_id, seq, kind, chat_id, message_id, body, created_at) VALUES \
     (1, $1::bigint - 3, 'message_out', $2::bigint, $4::bigint, $6::text, $7::timestamptz), \
     (1, $1 - 2, 'message_in', $3::bigint, $5::bigint, $6, $7), \
     (1, $1 - 1, 'chat_updated', $2, $4, NULL, $7), (1, $1, 'chat_updated', $3, $5, NULL, $7)";
pub(crate) const SEND_KEY: &str =
    "INSERT INTO idempotency (account_id, call_key, message_id, created_at) VALUES (1, $1, $2, $3)";

// Marking a chat, whole: the messages, the chat, and one event.
pub(crate) const MARK_MESSAGES: &str =
    "UPDATE messages SET is_read = TRUE WHERE chat_id = $1 AND incoming AND NOT is_read";
pub(crate) const MARK_CHAT: &str =
    "UPDATE chats SET unread_count = 0 WHERE id = $1 AND endpoint_id = $2 RETURNING unread_count";
pub(crate) const MARK_EVENT: &str = "INSERT INTO events (account_id, seq, kind, chat_id, created_at) \
     VALUES (1, $1, 'chat_updated', $2, now())";
