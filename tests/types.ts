/** `npm run types`: the TypeScript compiler over each part with that part's own settings. */

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { installClients } from './conformance/clients.ts'

const root = resolve(import.meta.dirname, '..')
const parts = [
  'shared',
  'shared/tsconfig.tests.json',
  'edge',
  'runner',
  'sdk',
  'cli',
  'console',
  'deploy',
  'tests',
  'tests/scale',
  'tests/chaos/worker',
]
const asked = process.argv.slice(2)

// The conformance tests are checked against the clients' own declarations.
await installClients()
for (const part of asked.length > 0 ? asked : parts) {
  if (!existsSync(join(root, part))) throw new Error(`cannot check ${part}: there is no such part`)
  const { status } = spawnSync(join(root, 'node_modules', '.bin', 'tsc'), ['-p', part], { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exitCode = 1
}
