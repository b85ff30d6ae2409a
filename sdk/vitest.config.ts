/** Tests of the SDK: the real client against a platform in the test's own process. */

import { defineConfig } from 'vitest/config'

export default defineConfig({
  resolve: { conditions: ['portico-source'] },
  ssr: { resolve: { conditions: ['portico-source'] } },
  // Some run a compiler or a program of their own, on hosts that are busy.
  test: { name: 'sdk', isolate: false, include: ['{src,test}/**/*.test.ts'], testTimeout: 30_000 },
})
