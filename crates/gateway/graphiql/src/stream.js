// The latest subscription and its results. GraphiQL itself shows the last result only (one sent message makes several events) and
// stops a subscription when another tab is opened; here it goes on, such that a message can be sent while its events are watched.
import { createStore } from './store.js';

/** Results kept for reading back; older ones are dropped, the count goes on. */
const KEPT = 200;

/**
 * @typedef {'connecting' | 'live' | 'reconnecting' | 'stopped' | 'failed'} State
 * @typedef {{ number: number, at: Date, result: unknown }} Entry
 * @typedef {{ id: symbol, name: string, stop: () => void, state: State, count: number, entries: Entry[] }} Stream newest entry first
 */

/** @type {ReturnType<typeof createStore<Stream | null>>} */
const store = createStore(null);

/** True when nothing more can come. */
export const isOver = ({ state }) => state === 'stopped' || state === 'failed';

export const stream = {
  get: store.get,
  subscribe: store.subscribe,

  /** Forgets the results shown so far; the subscription itself goes on. */
  clear() {
    const now = store.get();
    if (now) store.set({ ...now, count: 0, entries: [] });
  },

  /**
   * Begins anew and stops the stream before. What a stream reports after its end, or after another one was opened, is ignored.
   *
   * @param {string} name what is shown as the stream's name
   * @param {() => void} stop ends the subscription
   */
  open(name, stop) {
    store.get()?.stop();
    const id = Symbol(name);
    store.set({ id, name, stop, state: 'connecting', count: 0, entries: [] });
    const update = (change) => {
      const now = store.get();
      if (now.id === id && !isOver(now)) store.set({ ...now, ...change(now) });
    };
    return {
      /** @param {State} state */
      state: (state) => update(() => ({ state })),
      /** @param {unknown} result */
      add: (result) =>
        update(({ count, entries }) => ({
          count: count + 1,
          entries: [{ number: count + 1, at: new Date(), result }, ...entries].slice(0, KEPT),
        })),
    };
  },
};
