//! Applications.

use diesel::{
    prelude::*,
    sql_types::{BigInt, Nullable, SmallInt, Text},
};
use sipgraph_core::application::{Application, HttpMethod};

use super::{Corrupt, numbers};
use crate::{
    schema::applications,
    sql::columns,
    types::{DbId, DbTime, Id, Time},
};

numbers! {
    "HTTP method" HttpMethod: method_number method { Get = 0, Post = 1 }
}

columns! {
    /// An application.
    #[derive(Debug, Queryable, Selectable)]
    #[diesel(table_name = applications)]
    pub(crate) struct ApplicationRow {
        account_id: DbId => Id,
        id: DbId => Id,
        name: Text => String,
        callback_url: Nullable<Text> => Option<String>,
        callback_method: SmallInt => i16,
        created_at: DbTime => Time,
        version: BigInt => i64,
    }
}

impl From<Application> for ApplicationRow {
    fn from(application: Application) -> Self {
        let Application {
            id,
            account,
            name,
            callback_url,
            callback_method,
            created_at,
            version,
        } = application;
        Self {
            account_id: account.into(),
            id: id.into(),
            name,
            callback_url,
            callback_method: method_number(callback_method),
            created_at: created_at.into(),
            version,
        }
    }
}

impl TryFrom<ApplicationRow> for Application {
    type Error = Corrupt;

    fn try_from(row: ApplicationRow) -> Result<Self, Corrupt> {
        let ApplicationRow {
            account_id,
            id,
            name,
            callback_url,
            callback_method,
            created_at,
            version,
        } = row;
        Ok(Self {
            id: id.into(),
            account: account_id.into(),
            name,
            callback_url,
            callback_method: method(callback_method)?,
            created_at: created_at.into(),
            version,
        })
    }
}
