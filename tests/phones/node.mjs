// A softphone of the web in Node.js, driven by lines of JSON:
//
//   node node.mjs jssip|sip.js SERVER URI USER PASSWORD
//
// It prints each event of phone.js as a line, and takes { "to": URI, "body": TEXT } to send a text. The end of its input
// is its end: it unregisters.
import { createInterface } from 'node:readline';
import WebSocket from 'ws';

const [kind, server, uri, user, password] = process.argv.slice(2);
if (!password) {
  console.error('usage: node node.mjs jssip|sip.js SERVER URI USER PASSWORD');
  process.exit(64);
}
// Node.js 20 has none of its own.
globalThis.WebSocket = WebSocket;
const { start } = await import('./phone.js');
const phone = await start(kind, { server, uri, user, password }, (event) => console.log(JSON.stringify(event)));
for await (const line of createInterface({ input: process.stdin })) {
  const { to, body } = JSON.parse(line);
  phone.send(to, body);
}
await phone.stop();
// What it says at its end is on its way; nothing else is waited for.
setTimeout(() => process.exit(0), 500);
