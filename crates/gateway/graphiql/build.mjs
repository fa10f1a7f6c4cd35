// Builds the page and packs it for the gateway, which carries it inside its binary:
//
//   npm run build    writes ../assets/graphiql: each file under gzip, and manifest.json
//   npm run check    builds into a temporary folder and proves that the committed files hold what this source makes, byte for byte
//
// The same source makes the same page on every machine: pinned packages, names from contents, no time stamps. What is compared is
// the page, not its gzip form: two versions of zlib may compress the same bytes differently.
import { createHash } from 'node:crypto';
import { appendFile, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, extname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';
import { build } from 'vite';

const HERE = dirname(fileURLToPath(import.meta.url));
const COMMITTED = join(HERE, '..', 'assets', 'graphiql');

const TYPES = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.md': 'text/markdown; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.ttf': 'font/ttf',
};

/** Paths of all files below `root`, sorted, with forward slashes. */
async function filesBelow(root) {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).split(sep).join('/'))
    .sort();
}

/** gzip with a header that is the same everywhere: no name, no time (node writes neither), operating system "unknown". */
function pack(bytes) {
  const packed = gzipSync(bytes, { level: 9 });
  packed[9] = 255; // RFC 1952, section 2.3.1: the OS field
  return packed;
}

/** Builds the page into `bundle` and packs it into `target`. */
async function make(bundle, target) {
  await build({ root: HERE, configFile: join(HERE, 'vite.config.js'), logLevel: 'warn', build: { outDir: bundle, emptyOutDir: true } });
  // The editor carries code and icons of others; its own package lists them.
  const notices = await readFile(join(HERE, 'node_modules', 'monaco-editor', 'ThirdPartyNotices.txt'), 'utf8');
  await appendFile(join(bundle, 'licenses.md'), `\n# Third-party notices of monaco-editor\n\n${notices}`);
  const files = [];
  for (const path of await filesBelow(bundle)) {
    const type = TYPES[extname(path)];
    if (!type) throw new Error(`no content type for ${path}: add its ending to TYPES`);
    const bytes = await readFile(join(bundle, path));
    const stored = `${path}.gz`;
    await mkdir(dirname(join(target, stored)), { recursive: true });
    await writeFile(join(target, stored), pack(bytes));
    files.push({
      path,
      file: stored,
      contentType: type,
      encoding: 'gzip',
      size: bytes.length,
      sha256: createHash('sha256').update(bytes).digest('hex'),
      // Everything below assets/ has a hash of its contents in its name.
      immutable: path.startsWith('assets/'),
    });
  }
  await writeFile(join(target, 'manifest.json'), `${JSON.stringify({ files }, null, 2)}\n`);
  return files;
}

/** What of the files below `root`, packed here before, is not what is below `fresh`: one sentence each. */
async function differences(fresh, root) {
  const names = [...new Set([...(await filesBelow(fresh)), ...(await filesBelow(root))])].sort();
  const read = async (folder, name) => {
    const bytes = await readFile(join(folder, name)).catch(() => null);
    return bytes && name.endsWith('.gz') ? gunzipSync(bytes) : bytes;
  };
  const lines = [];
  for (const name of names) {
    const [wanted, got] = await Promise.all([read(fresh, name), read(root, name)]);
    if (!got) lines.push(`missing: ${name}`);
    else if (!wanted) lines.push(`left over: ${name}`);
    else if (!wanted.equals(got)) lines.push(`differs: ${name}`);
  }
  return lines;
}

const scratch = await mkdtemp(join(tmpdir(), 'graphiql-'));
try {
  const bundle = join(scratch, 'bundle');
  if (process.argv.includes('--check')) {
    const fresh = join(scratch, 'packed');
    const files = await make(bundle, fresh);
    const lines = await differences(fresh, COMMITTED);
    if (lines.length) {
      console.error(`The committed files are not what the source makes. Run "npm run build" and commit.\n${lines.join('\n')}`);
      process.exitCode = 1;
    } else {
      console.log(`${files.length} files match their source.`);
    }
  } else {
    await rm(COMMITTED, { recursive: true, force: true });
    const files = await make(bundle, COMMITTED);
    console.log(`${files.length} files, ${files.reduce((sum, { size }) => sum + size, 0)} bytes before compression.`);
  }
} finally {
  await rm(scratch, { recursive: true, force: true });
}
