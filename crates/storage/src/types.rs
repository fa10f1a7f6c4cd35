//! Ids and times in SQL: one SQL type each, with a native form on each backend.

use diesel::{
    backend::Backend,
    deserialize::{self, FromSql, FromSqlRow},
    expression::AsExpression,
    pg::{Pg, PgValue},
    query_builder::QueryId,
    serialize::{self, IsNull, Output, ToSql},
    sql_types::{BigInt, SqlType},
    sqlite::Sqlite,
};
use sipgraph_core::{
    AccountId, AddressId, ApplicationId, BindingId, ChatId, DeliveryId, DomainId, EndpointId,
    EndpointTokenId, EventId, ExchangeId, MessageId, RegistrationFailureId, Timestamp, TokenId,
    id::NodeId,
};
use std::io::Write as _;

/// `uuid` on Postgres, a BLOB of 16 bytes on SQLite.
#[derive(Debug, SqlType, QueryId)]
#[diesel(postgres_type(oid = 2950, array_oid = 2951))]
#[diesel(sqlite_type(name = "Binary"))]
pub struct DbId;

/// `timestamptz` on Postgres, INTEGER microseconds since 1970 on SQLite.
#[derive(Debug, Clone, Copy, SqlType, QueryId)]
#[diesel(postgres_type(oid = 1184, array_oid = 1185))]
#[diesel(sqlite_type(name = "Long"))]
pub struct DbTime;

/// Any of core's typed ids on its way to or from the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, AsExpression, FromSqlRow)]
#[diesel(sql_type = DbId)]
pub(crate) struct Id(pub(crate) [u8; 16]);

/// A [`Timestamp`] on its way to or from the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, AsExpression, FromSqlRow)]
#[diesel(sql_type = DbTime)]
pub(crate) struct Time(pub(crate) i64);

/// Postgres counts microseconds from 2000-01-01T00:00:00Z.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

macro_rules! ids {
    ($($core:ident)*) => {$(
        impl From<$core> for Id {
            fn from(id: $core) -> Self {
                Self(id.0)
            }
        }

        impl From<Id> for $core {
            fn from(id: Id) -> Self {
                Self(id.0)
            }
        }
    )*};
}

ids!(AccountId AddressId ApplicationId BindingId ChatId DeliveryId DomainId EndpointId EndpointTokenId EventId ExchangeId MessageId NodeId RegistrationFailureId TokenId);

impl From<Timestamp> for Time {
    fn from(time: Timestamp) -> Self {
        Self(time.0)
    }
}

impl From<Time> for Timestamp {
    fn from(time: Time) -> Self {
        Self(time.0)
    }
}

impl ToSql<DbId, Pg> for Id {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(&self.0)?;
        Ok(IsNull::No)
    }
}

impl ToSql<DbId, Sqlite> for Id {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(&self.0[..]);
        Ok(IsNull::No)
    }
}

impl FromSql<DbId, Pg> for Id {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(value.as_bytes().try_into()?))
    }
}

impl FromSql<DbId, Sqlite> for Id {
    fn from_sql(mut value: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(value.read_blob().try_into()?))
    }
}

impl ToSql<DbTime, Pg> for Time {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        let native = self.0.saturating_sub(POSTGRES_EPOCH_US);
        out.write_all(&native.to_be_bytes())?;
        Ok(IsNull::No)
    }
}

impl ToSql<DbTime, Sqlite> for Time {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.0);
        Ok(IsNull::No)
    }
}

impl FromSql<DbTime, Pg> for Time {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let native = i64::from_be_bytes(value.as_bytes().try_into()?);
        Ok(Self(native.saturating_add(POSTGRES_EPOCH_US)))
    }
}

impl FromSql<DbTime, Sqlite> for Time {
    fn from_sql(value: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        <i64 as FromSql<BigInt, Sqlite>>::from_sql(value).map(Self)
    }
}
