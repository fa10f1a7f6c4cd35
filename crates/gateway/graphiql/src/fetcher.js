// How GraphiQL talks to the server: queries and mutations by POST, subscriptions by graphql-transport-ws, both to
// `graphql` beside this page and to no other address.
import { createClient } from 'graphql-ws';
import { operationOf, resumable } from './resume.js';
import { createStore } from './store.js';
import { stream } from './stream.js';
import { authorization, refused } from './token.js';

const HTTP_URL = new URL('graphql', document.baseURI).href;
const WS_URL = HTTP_URL.replace(/^http/, 'ws');

/** Close code of the server for a missing, wrong or expired token. */
const UNAUTHORIZED = 4401;
/** Reconnections in a row before giving up: about five minutes of a server that is away. */
const RETRIES = 30;
/** Longest pause before a reconnection, in milliseconds. */
const MAX_PAUSE = 10_000;

/** The token of the tab, unless the header editor of GraphiQL names another. */
function headersOf(options) {
  const headers = new Headers(options?.headers);
  const value = authorization();
  if (value && !headers.has('authorization')) headers.set('authorization', value);
  return headers;
}

async function post(params, options) {
  const headers = headersOf(options);
  headers.set('content-type', 'application/json');
  headers.set('accept', 'application/graphql-response+json, application/json;q=0.9');
  const response = await fetch(HTTP_URL, { method: 'POST', headers, body: JSON.stringify(params), credentials: 'omit' });
  const text = await response.text();
  let result;
  try {
    result = JSON.parse(text);
  } catch {
    throw new Error(`HTTP ${response.status} ${response.statusText}: ${text.slice(0, 500)}`.trim());
  }
  const unauthenticated = result?.errors?.some?.((error) => error.extensions?.code === 'UNAUTHENTICATED');
  refused.set(response.status === 401 || Boolean(unauthenticated));
  return result;
}

/** What a closed socket means, in words. */
function explain(error) {
  if (!(error instanceof CloseEvent)) return error;
  const reason = error.reason ? `: ${error.reason}` : '';
  return new Error(`The server closed the subscription's connection (${error.code}${reason}).`);
}

/** The id of the tab that GraphiQL shows. */
export const activeTab = createStore('');

/** An observable of the subscription's results; each subscriber has a connection of its own. */
function subscription(params, options) {
  return {
    subscribe(sink) {
      const payload = { ...params };
      const remember = resumable(payload);
      let watched = true;
      const client = createClient({
        url: WS_URL,
        connectionParams: () => {
          const value = headersOf(options).get('authorization');
          return value ? { authorization: value } : {};
        },
        retryAttempts: RETRIES,
        retryWait: async (retries) => {
          const pause = Math.min(MAX_PAUSE, 500 * 2 ** retries) * (0.5 + Math.random() / 2);
          await new Promise((resolve) => setTimeout(resolve, pause));
        },
        on: {
          connecting: () => log.state('connecting'),
          connected: () => {
            refused.set(false);
            log.state('live');
          },
          closed: (event) => {
            if (event?.code === UNAUTHORIZED) refused.set(true);
            log.state('reconnecting');
          },
        },
      });
      const log = stream.open(params.operationName ?? 'subscription', () => {
        stop();
        client.dispose();
      });
      const stop = client.subscribe(payload, {
        next(result) {
          // The client sends `payload` again when it reconnects.
          remember(result);
          log.add(result);
          if (watched) sink.next(result);
        },
        error(error) {
          log.state('failed');
          if (watched) sink.error(explain(error));
          client.dispose();
        },
        complete() {
          log.state('stopped');
          if (watched) sink.complete();
          client.dispose();
        },
      });
      return {
        // Called for the stop button, which ends the subscription, and for a change of tabs, after which it goes on below.
        unsubscribe() {
          watched = false;
          const tab = activeTab.get();
          setTimeout(() => {
            if (activeTab.get() !== tab) return;
            stop();
            client.dispose();
          });
        },
      };
    },
  };
}

/** @type {import('@graphiql/toolkit').Fetcher} */
export function fetcher(given, options) {
  const operation = operationOf(given.query, given.operationName);
  const params = operation ? { ...given, operationName: operation.name?.value } : given;
  return operation?.operation === 'subscription' ? subscription(params, options) : post(params, options);
}
