import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: { name: 'shared', isolate: false, include: ['src/**/*.test.ts', 'tools/**/*.test.ts'], testTimeout: 20_000 },
})
