import { defineConfig } from 'vite';

export default defineConfig({
  // Addresses relative to the page: it also works behind a proxy that adds a prefix.
  base: './',
  worker: { format: 'es' },
  build: {
    target: 'es2022',
    sourcemap: false,
    // The notices that the licences of the bundled packages ask for.
    license: { fileName: 'licenses.md' },
    modulePreload: { polyfill: false },
    // The editor is one chunk of 2.8 MB (0.7 MB compressed), loaded after the first paint.
    chunkSizeWarningLimit: 3072,
    rolldownOptions: {
      // "use client" marks in libraries mean nothing to a page that is all client.
      checks: { moduleLevelDirective: false },
    },
  },
});
