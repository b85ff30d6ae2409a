/** All tests of the front door run inside workerd, the real runtime: those beside the source and those in `test/`. */

import { fileURLToPath } from 'node:url'
import { cloudflareTest } from '@cloudflare/vitest-plugin'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  plugins: [
    cloudflareTest({
      wrangler: { configPath: fileURLToPath(new URL('../wrangler.toml', import.meta.url)) },
      miniflare: {
        bindings: {
          PORTICO_SECRET: 'a secret of the tests alone, longer than thirty-two bytes',
          ADMIN_KEY: 'the-admin-key-of-the-tests-alone',
          REGIONS_SERVED: 'local,eu',
          APP_URL: 'http://app.localhost:8787',
          SANDBOX_URL: 'http://sandbox.localhost:8787',
        },
      },
    }),
  ],
  test: {
    name: 'edge',
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    // One workerd for all files, which then load the front door once; each makes accounts, sandboxes and runners of its own.
    isolate: false,
    testTimeout: 60_000,
    expect: { poll: { timeout: 10_000 } },
    silent: 'passed-only',
  },
})
