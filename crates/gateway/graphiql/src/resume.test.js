import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from 'graphql';
import { operationOf, resumable } from './resume.js';

const edge = (cursor, key = 'events') => ({ data: { [key]: { cursor } } });

test('the cursor goes into the variable that the document uses', () => {
  const query = 'subscription S($from: Cursor, $f: EventFilter) { events(after: $from, filter: $f) { cursor } }';
  const payload = { query, operationName: 'S', variables: { from: null, f: {} } };
  const remember = resumable(payload);
  remember(edge('c1'));
  remember(edge('c2'));
  assert.deepEqual(payload, { query, operationName: 'S', variables: { from: 'c2', f: {} } });
});

test('without a variable the cursor becomes a literal, and replaces the one given', () => {
  for (const query of ['subscription { events { cursor } }', 'subscription { events(after: "") { cursor } }']) {
    const payload = { query };
    const remember = resumable(payload);
    remember(edge('c1'));
    remember(edge('"quoted"'));
    const [field] = parse(payload.query).definitions[0].selectionSet.selections;
    assert.deepEqual(field.arguments.map(({ name, value }) => [name.value, value.value]), [['after', '"quoted"']]);
  }
});

test('aliases are followed', () => {
  const payload = { query: 'subscription($a: Cursor) { live: events(after: $a) { at: cursor } }' };
  resumable(payload)({ data: { live: { at: 'c9' } } });
  assert.equal(payload.variables.a, 'c9');
});

test('other operations of the document stay as they are', () => {
  const payload = { query: 'query Q { viewer { id } } subscription S { events { cursor } }', operationName: 'S' };
  resumable(payload)(edge('c1'));
  assert.match(payload.query, /query Q {\n {2}viewer/);
  assert.match(payload.query, /events\(after: "c1"\)/);
});

test('what cannot be resumed is sent again unchanged', () => {
  const results = [edge('c1'), { data: null, errors: [] }, { data: { endpointStates: { kind: 'INITIAL' } } }];
  for (const query of ['subscription { endpointStates { kind } }', 'subscription { events { node { id } } }', 'subscription {']) {
    const payload = { query };
    const remember = resumable(payload);
    results.forEach(remember);
    assert.deepEqual(payload, { query });
  }
});

test('a single operation is meant, whatever name GraphiQL gives', () => {
  assert.equal(operationOf('query A { viewer { id } }', 'B').name.value, 'A');
  assert.equal(operationOf('query A { viewer { id } } query C { viewer { id } }', 'C').name.value, 'C');
  assert.equal(operationOf('query {', 'A'), undefined);
});
