/** Everything that starts virtual machines: few at a time, as each takes a core while it boots. */

import { resolve } from 'node:path'
import { defineConfig } from 'vitest/config'
import { alone } from './vitest.alone.config.ts'

export default defineConfig({
  root: resolve(import.meta.dirname, '..'),
  resolve: { conditions: ['portico-source'] },
  ssr: { resolve: { conditions: ['portico-source'] } },
  test: {
    name: 'vm',
    include: ['runner/**/*.vm.test.ts', 'tests/**/*.vm.test.ts', 'deploy/**/*.vm.test.ts'],
    exclude: ['**/node_modules/**', ...alone],
    dir: resolve(import.meta.dirname, '..'),
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
})
