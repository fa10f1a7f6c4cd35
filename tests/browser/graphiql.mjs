// Drives the GraphiQL page of a running server, as a user would:
//
//   node graphiql.mjs BASE_URL TOKEN SCREENSHOT
//
// 1. Opens BASE_URL/#token=TOKEN: the token must leave the address bar, and the Welcome tab must answer.
// 2. Starts the LiveEvents tab and prints SUBSCRIBED once the subscription is live. The caller now causes an event within 30 s.
// 3. The event must appear. A picture of the page is written to SCREENSHOT.
// All along: no request to another host, no error in the page's console, nothing refused by the content security policy.
//
// Exit code: 0 when all of that holds; 1 when not, with the reason on stderr (and a picture, when there is a page);
// 64 for wrong usage. CHROMIUM names another browser than /usr/bin/chromium.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

/** Patience for one step of the page, in milliseconds: the first one loads a 2.8 MB editor, perhaps on a busy machine. */
const STEP = 60_000;
/** How long the caller may take to cause an event after SUBSCRIBED, in milliseconds. */
const EVENT = 30_000;

const [base, token, screenshot] = process.argv.slice(2);
if (!base || !token || !screenshot) {
  console.error('usage: node graphiql.mjs BASE_URL TOKEN SCREENSHOT');
  process.exit(64);
}

/** @type {(condition: unknown, message: string) => asserts condition} */
function assert(condition, message) {
  if (!condition) throw new Error(message);
}

const here = new URL(base);
const foreign = [];
const complaints = [];

/** A request leaves this machine's server when it goes to another host or port; data: and blob: addresses go nowhere. */
function watch(url) {
  const { protocol, host } = new URL(url);
  if (protocol !== 'data:' && protocol !== 'blob:' && host !== here.host) foreign.push(url);
}

async function drive(page) {
  await page.goto(new URL(`/#token=${encodeURIComponent(token)}`, here).href, { timeout: STEP });
  await page.locator('.graphiql-query-editor .monaco-editor').waitFor({ timeout: STEP });
  assert(!page.url().includes(token), `the token is still in the address bar: ${page.url()}`);
  assert(!(await page.evaluate(() => location.hash)), 'the address bar still has a fragment');
  await page.getByRole('button', { name: 'Token set' }).waitFor({ timeout: STEP });

  const response = page.locator('.graphiql-response');
  const run = page.locator('.graphiql-execute-button');
  await run.click();
  await response.getByText('"technologies"').first().waitFor({ timeout: STEP });
  const viewer = await response.locator('.view-lines').innerText();
  assert(/"account"/.test(viewer) && !/"errors"/.test(viewer), `the Welcome tab answered: ${viewer}`);
  console.log('WELCOME');

  await page.locator('[role="tab"], .graphiql-tab-button').filter({ hasText: 'LiveEvents' }).first().click();
  await page.locator('.graphiql-query-editor .view-lines').getByText('subscription').first().waitFor({ timeout: STEP });
  await run.click();
  const stream = page.getByRole('region', { name: 'Subscription' });
  await stream.getByText('Live', { exact: true }).waitFor({ timeout: STEP });
  console.log('SUBSCRIBED');

  const first = stream.locator('li').first();
  await first.waitFor({ timeout: EVENT }).catch(() => assert(false, 'the subscription is live, but no event came'));
  const event = await first.innerText();
  assert(/"type":"[A-Z_]+"/.test(event), `not an event: ${event}`);
  await response.getByText('"cursor"').first().waitFor({ timeout: STEP });
  console.log(`EVENT ${event.replaceAll('\n', ' ')}`);

  assert(foreign.length === 0, `the page asked foreign hosts: ${foreign.join(', ')}`);
  assert(complaints.length === 0, `the page complained:\n${complaints.join('\n')}`);
}

const profile = await mkdtemp(join(tmpdir(), 'sipgraph-browser-'));
let context;
let failure;
try {
  context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    chromiumSandbox: false, // The tests run as root in containers, where the sandbox cannot start.
    viewport: { width: 1440, height: 900 },
    args: [
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-gpu',
      '--disable-quic',
      '--disable-sync',
      '--no-first-run',
    ],
  });
  context.on('request', (request) => watch(request.url()));
  context.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  context.on('weberror', (error) => complaints.push(String(error.error())));
  const page = context.pages()[0] ?? (await context.newPage());
  page.on('websocket', (socket) => watch(socket.url().replace(/^ws/, 'http')));
  await drive(page).catch((error) => {
    failure = error;
  });
  await page.screenshot({ path: screenshot });
} catch (error) {
  failure ??= error;
} finally {
  await context?.close();
  await rm(profile, { recursive: true, force: true });
}
if (failure) {
  console.error(`FAILED: ${failure.message}`);
  if (complaints.length) console.error(complaints.join('\n'));
  process.exitCode = 1;
}
