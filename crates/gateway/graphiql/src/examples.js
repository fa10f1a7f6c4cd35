// The tabs that a first visit opens with. GraphiQL names a tab after its operation. Each document stands in a file of its own, where
// src/examples.test.js holds it against the schema.
import chats from './examples/chats.graphql?raw';
import createEndpoint from './examples/create-endpoint.graphql?raw';
import endpointStates from './examples/endpoint-states.graphql?raw';
import endpoints from './examples/endpoints.graphql?raw';
import liveEvents from './examples/live-events.graphql?raw';
import sendMessage from './examples/send-message.graphql?raw';
import welcome from './examples/welcome.graphql?raw';
import facts from './examples/facts.graphql?raw';
import { fetcher } from './fetcher.js';
import { token } from './token.js';

/** How long the page waits for the server before it opens with placeholders, in milliseconds. */
const PATIENCE = 3_000;

/** What is there already, such that the examples run without editing: a domain's id, and two endpoints. */
async function lookUp() {
  if (!token.get()) return {};
  const late = new Promise((resolve) => setTimeout(resolve, PATIENCE, {}));
  const { data } = await Promise.race([fetcher({ query: facts, operationName: 'Facts' }), late]);
  return { domainId: data?.domains?.nodes[0]?.id, names: data?.endpoints?.nodes.map(({ name }) => name) };
}

const json = (value) => JSON.stringify(value, null, 2);
const party = (resource) => ({ resource: { technology: 'SIP', resource } });

/** @returns {Promise<{ query: string, variables?: string }[]>} */
export async function exampleTabs() {
  const { domainId = 'the id of a domain (see the Welcome tab)', names = [] } = await lookUp().catch(() => ({}));
  const [from = 'alice', second = 'bob'] = names;
  const to = names.includes('echo') ? 'echo' : second;
  return [
    { query: welcome },
    { query: endpoints, variables: json({ first: 20, filter: {} }) },
    {
      query: createEndpoint,
      variables: json({ input: { domainId, name: 'carol', credentials: { generate: true }, displayName: 'Carol' } }),
    },
    { query: liveEvents, variables: json({ after: null, filter: {} }) },
    { query: endpointStates, variables: json({ filter: {} }) },
    {
      query: sendMessage,
      variables: json({ input: { from: party(from), to: party(to), body: 'Hello from GraphiQL' } }),
    },
    { query: chats, variables: json({ first: 50 }) },
  ];
}
