// Below the response: whether the subscription is live, and its latest results, newest first.
import { useSyncExternalStore } from 'react';
import { isOver, stream } from './stream.js';

const LABELS = {
  connecting: 'Connecting…',
  live: 'Live',
  reconnecting: 'Connection lost, reconnecting…',
  stopped: 'Stopped',
  failed: 'Failed',
};

/** One line for a result: its errors, or its data without the outermost field and without the cursor of an edge. */
function summary({ data, errors }) {
  if (errors?.length) return errors.map((error) => error.message).join('; ');
  const [value] = Object.values(data ?? {});
  return JSON.stringify(value?.node ?? value ?? null);
}

export function StreamLog() {
  const now = useSyncExternalStore(stream.subscribe, stream.get);
  if (!now) return null;
  return (
    <section className="stream" aria-label="Subscription">
      <header>
        <strong>{now.name}</strong>
        <span className={`stream-state stream-${now.state}`} role="status">
          {LABELS[now.state]}
        </span>
        <span>
          {now.count} {now.count === 1 ? 'result' : 'results'}
        </span>
        <button type="button" onClick={now.stop} disabled={isOver(now)}>
          Stop
        </button>
        <button type="button" onClick={stream.clear} disabled={now.count === 0}>
          Clear
        </button>
      </header>
      <ol reversed>
        {now.entries.map((entry) => (
          <li key={entry.number}>
            <details>
              <summary>
                <time dateTime={entry.at.toISOString()}>{entry.at.toLocaleTimeString(undefined, { hour12: false })}</time>{' '}
                <code>{summary(entry.result)}</code>
              </summary>
              <pre>{JSON.stringify(entry.result, null, 2)}</pre>
            </details>
          </li>
        ))}
      </ol>
    </section>
  );
}
