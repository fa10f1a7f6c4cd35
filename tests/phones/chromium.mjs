// A softphone in a page of headless Chromium, driven by lines of JSON as node.mjs is:
//
//   node chromium.mjs jssip|sip.js SERVER URI USER PASSWORD SCREENSHOT
//
// It serves the page itself, from an origin http://127.0.0.1:PORT that the server must allow. At the end of its input it
// takes a picture, unregisters and ends. CHROMIUM names another browser than /usr/bin/chromium.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { build } from 'esbuild';
import { chromium } from 'playwright-core';

const [kind, server, uri, user, password, screenshot] = process.argv.slice(2);
if (!screenshot) {
  console.error('usage: node chromium.mjs jssip|sip.js SERVER URI USER PASSWORD SCREENSHOT');
  process.exit(64);
}

const here = import.meta.dirname;
const { outputFiles } = await build({
  entryPoints: [join(here, 'page.js')],
  bundle: true,
  format: 'iife',
  write: false,
  logLevel: 'error',
});
const html = await readFile(join(here, 'page.html'));
const pages = createServer((request, response) => {
  const isScript = request.url === '/page.js';
  response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html');
  response.end(isScript ? outputFiles[0].contents : html);
});
await new Promise((done) => pages.listen(0, '127.0.0.1', done));

const folder = await mkdtemp(join(tmpdir(), 'sipgraph-phone-'));
const context = await chromium.launchPersistentContext(folder, {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  viewport: { width: 480, height: 480 },
  // A container has neither user namespaces nor much shared memory.
  args: ['--no-sandbox', '--disable-dev-shm-usage'],
});
try {
  const page = context.pages()[0] ?? (await context.newPage());
  page.on('pageerror', (error) => console.error(`the page failed: ${error}`));
  await page.exposeFunction('tell', (event) => console.log(JSON.stringify(event)));
  await page.goto(`http://127.0.0.1:${pages.address().port}/`);
  await page.evaluate((given) => window.begin(...given), [kind, { server, uri, user, password }]);
  for await (const line of createInterface({ input: process.stdin })) {
    const { to, body } = JSON.parse(line);
    await page.evaluate((given) => window.send(...given), [to, body]);
  }
  await page.screenshot({ path: screenshot });
  await page.evaluate(() => window.stop());
} finally {
  await context.close();
  pages.close();
  await rm(folder, { recursive: true, force: true });
}
