/** Tests of what the page does without a browser; `tests/e2e/page.browser.vm.test.ts` looks at it in one. */

import { defineConfig } from 'vitest/config'

export default defineConfig({
  resolve: { conditions: ['portico-source'] },
  test: { name: 'console', include: ['src/**/*.test.ts'] },
})
