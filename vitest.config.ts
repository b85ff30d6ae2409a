/**
 * All tests. Each part has a project of its own; what starts virtual machines or whole platforms is in files named `*.vm.test.ts` and runs in the
 * projects of `tests/vm-project.ts`, one file at a time.
 */

import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    projects: [
      './shared/vitest.config.ts',
      './edge/vitest.config.ts',
      './runner/vitest.config.ts',
      './sdk/vitest.config.ts',
      './cli/vitest.config.ts',
      './console/vitest.config.ts',
      './tests/vitest.config.ts',
      './tests/vitest.vm.config.ts',
      './tests/vitest.boots.config.ts',
      './tests/vitest.chaos.config.ts',
      './tests/vitest.alone.config.ts',
    ],
  },
})
