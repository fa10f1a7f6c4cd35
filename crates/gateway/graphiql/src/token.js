// The bearer token of this browser tab. It comes in the fragment of the address (`/#token=...`, which is never sent to a
// server), is kept in sessionStorage (gone with the tab) and is removed from the address bar and the history entry at once.
import { createStore } from './store.js';

const KEY = 'sipgraph:token';

/** The token, or '' when there is none. */
export const token = createStore(sessionStorage.getItem(KEY) ?? '');

/** True after the server refused the present token (or refused to serve without one). */
export const refused = createStore(false);

/** @param {string} text a token as pasted; an "Authorization" value with its "Bearer " is accepted too */
export function setToken(text) {
  const value = text.trim().replace(/^Bearer\s+/i, '');
  if (value) sessionStorage.setItem(KEY, value);
  else sessionStorage.removeItem(KEY);
  refused.set(false);
  token.set(value);
}

/** The value of the Authorization header, or undefined without a token. */
export function authorization() {
  return token.get() ? `Bearer ${token.get()}` : undefined;
}

function takeFromAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  if (given === null) return;
  history.replaceState(history.state, '', location.pathname + location.search);
  setToken(given);
}

takeFromAddress();
// The same tab is opened again with another token: only the fragment changes, the page is not loaded anew.
addEventListener('hashchange', takeFromAddress);
