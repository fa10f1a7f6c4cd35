// A subscription to `events` goes on behind the last cursor after a lost connection: no gap and no repeat.
import { Kind, parse, print } from 'graphql';

/**
 * @param {string} query
 * @param {string | null | undefined} operationName
 * @returns {import('graphql').OperationDefinitionNode | undefined} the operation that would run; undefined when the document is not valid
 */
export function operationOf(query, operationName) {
  let document;
  try {
    document = parse(query);
  } catch {
    return undefined; // The server answers with the exact place of the mistake.
  }
  const operations = document.definitions.filter((node) => node.kind === Kind.OPERATION_DEFINITION);
  // Just after a change of tabs GraphiQL may still name the operation of the tab before: a single operation needs no name.
  return operations.length === 1 ? operations[0] : operations.find((node) => node.name?.value === operationName);
}

/**
 * Watches the results of one subscription.
 *
 * @param {{ query: string, operationName?: string | null, variables?: Record<string, unknown> | null }} payload
 * @returns {(result: { data?: Record<string, any> | null }) => void} to be called with each result: it keeps `payload` such that sending it
 *   again goes on where the last result ended. Does nothing for an operation without a readable cursor.
 */
export function resumable(payload) {
  const operation = operationOf(payload.query, payload.operationName);
  const [field] = operation?.selectionSet.selections ?? [];
  if (field?.kind !== Kind.FIELD || field.name.value !== 'events') return () => {};
  const cursorField = field.selectionSet?.selections.find(
    (selection) => selection.kind === Kind.FIELD && selection.name.value === 'cursor',
  );
  if (!cursorField) return () => {};

  const key = (node) => node.alias?.value ?? node.name.value;
  const after = field.arguments?.find((argument) => argument.name.value === 'after');
  return ({ data }) => {
    const cursor = data?.[key(field)]?.[key(cursorField)];
    if (typeof cursor !== 'string') return;
    if (after?.value.kind === Kind.VARIABLE) {
      payload.variables = { ...payload.variables, [after.value.name.value]: cursor };
    } else {
      payload.query = withAfter(payload.query, operation, cursor);
    }
  };
}

/** `query` with the literal `after: "cursor"` on the first root field of `operation`. */
function withAfter(query, operation, cursor) {
  const document = parse(query);
  const argument = {
    kind: Kind.ARGUMENT,
    name: { kind: Kind.NAME, value: 'after' },
    value: { kind: Kind.STRING, value: cursor },
  };
  const definitions = document.definitions.map((definition) => {
    if (definition.kind !== Kind.OPERATION_DEFINITION || definition.name?.value !== operation.name?.value) return definition;
    const [field] = definition.selectionSet.selections;
    const others = (field.arguments ?? []).filter((given) => given.name.value !== 'after');
    const selections = [{ ...field, arguments: [...others, argument] }];
    return { ...definition, selectionSet: { ...definition.selectionSet, selections } };
  });
  return print({ ...document, definitions });
}
