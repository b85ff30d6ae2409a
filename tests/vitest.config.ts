import { defineConfig } from 'vitest/config'

export default defineConfig({
  resolve: { conditions: ['portico-source'] },
  ssr: { resolve: { conditions: ['portico-source'] } },
  test: {
    name: 'tests',
    include: ['**/*.test.ts', '../deploy/**/*.test.ts'],
    exclude: ['**/*.vm.test.ts', '**/node_modules/**'],
  },
})
