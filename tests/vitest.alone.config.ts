/** Tests that count what runs on this machine before and after: nothing else may run meanwhile. */

import { resolve } from 'node:path'
import { defineConfig } from 'vitest/config'

export const alone = ['tests/e2e/commands.vm.test.ts', 'tests/e2e/lifetime.vm.test.ts']

export default defineConfig({
  root: resolve(import.meta.dirname, '..'),
  resolve: { conditions: ['portico-source'] },
  ssr: { resolve: { conditions: ['portico-source'] } },
  test: {
    name: 'alone',
    include: alone,
    dir: resolve(import.meta.dirname, '..'),
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
})
