// The token of the tab: one button that says how things stand, and a small form behind it. The form opens by itself when there
// is no token or the server refused it: without one nothing else on the page works.
import { useEffect, useState, useSyncExternalStore } from 'react';
import { refused, setToken, token } from './token.js';

const HELP = {
  missing: (
    <>
      Requests need a token. Open the address that <code>sipgraph demo</code> printed, or paste one here
      (<code>sipgraph token create</code> makes it).
    </>
  ),
  refused: <>The server refused this token: it is wrong, expired or revoked. Paste another one.</>,
  set: <>Kept for this browser tab only, and sent to this server only.</>,
};

const LABELS = { missing: 'No token', refused: 'Token refused', set: 'Token set' };

export function TokenButton() {
  const value = useSyncExternalStore(token.subscribe, token.get);
  const isRefused = useSyncExternalStore(refused.subscribe, refused.get);
  const state = !value ? 'missing' : isRefused ? 'refused' : 'set';
  const [open, setOpen] = useState(state !== 'set');
  useEffect(() => setOpen(state !== 'set'), [state]);

  const submit = (event) => {
    event.preventDefault();
    setToken(new FormData(event.currentTarget).get('token'));
  };
  return (
    <div className="token" data-state={state}>
      <button type="button" className="token-button" aria-expanded={open} onClick={() => setOpen(!open)}>
        {LABELS[state]}
      </button>
      {open && (
        <form className="token-form" onSubmit={submit} onKeyDown={(event) => event.key === 'Escape' && setOpen(false)}>
          <p>{HELP[state]}</p>
          {/* A new key empties the field: a token that is set is not shown again. */}
          <input key={value} name="token" type="password" aria-label="Bearer token" placeholder="Bearer token" autoComplete="off" spellCheck={false} required />
          <div>
            <button type="submit">Use</button>
            {value && (
              <button type="button" onClick={() => setToken('')}>
                Forget
              </button>
            )}
            <button type="button" onClick={() => setOpen(false)}>
              Close
            </button>
          </div>
        </form>
      )}
    </div>
  );
}
