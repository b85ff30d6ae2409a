/** Tests of the runner that need nothing but Node. Those that boot machines (`*.vm.test.ts`) belong to the project `vm` of the root. */

import { defineConfig } from 'vitest/config'

export default defineConfig({
  resolve: { conditions: ['portico-source'] },
  ssr: { resolve: { conditions: ['portico-source'] } },
  test: {
    name: 'runner',
    isolate: false,
    include: ['src/**/*.test.ts'],
    exclude: ['**/*.vm.test.ts', '**/node_modules/**'],
  },
})
