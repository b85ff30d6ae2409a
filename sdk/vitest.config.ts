/** Tests of the SDK: the real client against a platform in the test's own process. */

import { defineConfig } from 'vitest/config'

export default defineConfig({
  resolve: { conditions: ['portico-source'] },
  ssr: { resolve: { conditions: ['portico-source'] } },
  test: { name: 'sdk', include: ['{src,test}/**/*.test.ts'] },
})
