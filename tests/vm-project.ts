/**
 * Tests that start virtual machines, one file at a time, as each machine takes a core while it boots. Four projects, so that `npm test` can run
 * some beside what needs none:
 *
 *   vm      all but the others
 *   boots   nothing but cold boots, which do not mind what else runs
 *   chaos   the same; it has a platform of its own kind
 *   alone   count what runs on this machine before and after: nothing else may run meanwhile
 */

import { resolve } from 'node:path'
import { defineConfig, type ViteUserConfig } from 'vitest/config'

const boots = ['runner/src/vm/qemu/boots.vm.test.ts']
const chaos = ['tests/chaos/chaos.vm.test.ts']
const alone = ['tests/e2e/commands.vm.test.ts', 'tests/e2e/leftovers.vm.test.ts']
const all = ['runner/**/*.vm.test.ts', 'tests/**/*.vm.test.ts', 'deploy/**/*.vm.test.ts']

const files = {
  vm: { include: all, exclude: ['**/node_modules/**', ...boots, ...chaos, ...alone] },
  boots: { include: boots },
  chaos: { include: chaos },
  alone: { include: alone },
} as const

export function vmProject(name: keyof typeof files): ViteUserConfig {
  const root = resolve(import.meta.dirname, '..')
  const { include, exclude = ['**/node_modules/**'] } = { exclude: undefined, ...files[name] }
  return defineConfig({
    root,
    resolve: { conditions: ['portico-source'] },
    ssr: { resolve: { conditions: ['portico-source'] } },
    test: {
      name,
      include: [...include],
      exclude: [...exclude],
      dir: root,
      fileParallelism: false,
      testTimeout: 120_000,
      hookTimeout: 120_000,
    },
  })
}
