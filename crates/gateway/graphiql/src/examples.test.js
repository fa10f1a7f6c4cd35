import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { test } from 'node:test';
import { buildSchema, parse, validate } from 'graphql';

const documents = new URL('examples/', import.meta.url);
const schemaFile = new URL('../../../../schema.graphql', import.meta.url);

test('each example is valid against the exported schema', async () => {
  const schema = buildSchema(await readFile(schemaFile, 'utf8'));
  for (const name of await readdir(documents)) {
    const document = parse(await readFile(new URL(name, documents), 'utf8'));
    assert.deepEqual(validate(schema, document).map((error) => error.message), [], name);
  }
});
