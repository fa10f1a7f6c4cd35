//! What each operation gets before it runs: its view, and the head of the log where it asks for that.

use std::{
    any::{Any, TypeId},
    sync::Arc,
};

use async_graphql::{
    Data, Executor, Request, Response,
    parser::types::{ExecutableDocument, Selection, SelectionSet},
};
use futures_util::{FutureExt, StreamExt, stream::BoxStream};
use sipgraph_core::{App, Error, access::Caller};

use crate::{
    meters::{self, Meters},
    schema::SipgraphSchema,
    validation::Validation,
    view::View,
};

/// The head of the log as it was before the operation began.
pub(crate) struct CursorAtStart(pub(crate) Result<String, Error>);

/// The schema as the transport runs it.
#[derive(Clone)]
pub(crate) struct Operations {
    pub(crate) schema: SipgraphSchema,
    pub(crate) app: Arc<App>,
    pub(crate) meters: Meters,
    pub(crate) validation: Validation,
}

impl Operations {
    /// Adds what the resolvers count on; `caller` comes from the request or from its socket.
    async fn prepare(&self, request: &mut Request, caller: Caller) {
        let wanted = request.parsed_query().is_ok_and(asks_for_cursor);
        if wanted {
            let cursor = self.app.event_cursor(&caller).await;
            request.data.insert(CursorAtStart(cursor));
        }
        request
            .data
            .insert(View::new(Arc::clone(&self.app), caller));
    }
}

impl Executor for Operations {
    async fn execute(&self, mut request: Request) -> Response {
        match caller(&request.data) {
            Some(caller) => self.prepare(&mut request, caller).await,
            None => return nobody(),
        }
        let kind = kind_of(&mut request);
        let response = match self.validation.check(&mut request).await {
            Ok(()) => self.schema.execute(request).await,
            Err(errors) => Response::from_errors(errors),
        };
        self.meters.ran(kind, response.is_err());
        response
    }

    fn execute_stream(
        &self,
        mut request: Request,
        session: Option<Arc<Data>>,
    ) -> BoxStream<'static, Response> {
        let this = self.clone();
        let session = session.unwrap_or_default();
        let begin = async move {
            match caller(&session) {
                Some(caller) => this.prepare(&mut request, caller).await,
                None => return once(nobody()),
            }
            let checked = this.validation.check(&mut request).await;
            this.meters.ran(kind_of(&mut request), checked.is_err());
            if let Err(errors) = checked {
                return once(Response::from_errors(errors));
            }
            this.schema
                .execute_stream_with_session_data(request, session)
        };
        begin.flatten_stream().boxed()
    }
}

fn once(response: Response) -> BoxStream<'static, Response> {
    futures_util::stream::once(std::future::ready(response)).boxed()
}

fn kind_of(request: &mut Request) -> &'static str {
    let name = request.operation_name.clone();
    let document = request.parsed_query();
    document.map_or("unknown", |document| {
        meters::kind(document, name.as_deref())
    })
}

fn caller(data: &Data) -> Option<Caller> {
    let value: &(dyn Any + Send + Sync) = &**data.get(&TypeId::of::<Caller>())?;
    value.downcast_ref::<Caller>().cloned()
}

/// The transport lets nobody in without a caller; were it ever to, nothing is shown.
fn nobody() -> Response {
    let error = Error::new(
        sipgraph_core::ErrorKind::Unauthenticated,
        "Send a token: Authorization: Bearer TOKEN.",
    );
    let error = crate::errors::error(error).into_server_error(Default::default());
    Response::from_errors(vec![error])
}

/// Returns whether a root of the document, which the gate has bounded, selects `eventCursor`.
fn asks_for_cursor(document: &ExecutableDocument) -> bool {
    let roots = document.operations.iter();
    let mut roots = roots.map(|(_, operation)| &operation.node.selection_set.node);
    let mut fragments = document.fragments.values();
    roots.any(selects_cursor)
        || fragments.any(|fragment| selects_cursor(&fragment.node.selection_set.node))
}

fn selects_cursor(set: &SelectionSet) -> bool {
    set.items.iter().any(|item| match &item.node {
        Selection::Field(field) => field.node.name.node == "eventCursor",
        Selection::InlineFragment(inner) => selects_cursor(&inner.node.selection_set.node),
        Selection::FragmentSpread(_) => false,
    })
}
