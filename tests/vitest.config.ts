import { resolve } from 'node:path'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  root: resolve(import.meta.dirname, '..'),
  resolve: { conditions: ['portico-source'] },
  ssr: { resolve: { conditions: ['portico-source'] } },
  test: {
    name: 'tests',
    isolate: false,
    include: ['tests/**/*.test.ts', 'deploy/**/*.test.ts'],
    exclude: ['**/*.vm.test.ts', '**/node_modules/**'],
    dir: resolve(import.meta.dirname, '..'),
    testTimeout: 30_000,
  },
})
