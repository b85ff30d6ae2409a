/** Tests of the CLI: its real process against a platform in the test's own. */

import { defineConfig } from 'vitest/config'

export default defineConfig({
  resolve: { conditions: ['portico-source'] },
  ssr: { resolve: { conditions: ['portico-source'] } },
  test: { name: 'cli', isolate: false, include: ['{src,test}/**/*.test.ts'], testTimeout: 20_000 },
})
