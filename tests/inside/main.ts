/**
 * `npm run inside [-- --only PATTERN] [--json]`: what the inside of a sandbox has to carry (files, services, checkpoints, the store), in its long forms, on
 * real machines with real services, as one table. The exit code is 1 when something did not hold.
 */

import { join, matchesGlob } from 'node:path'
import { parseArgs } from 'node:util'
import { type Finding, table } from '../kit/findings.ts'
import { testPlatform } from '../kit/platform.ts'
import { serviceSettings } from '../kit/service-image.ts'
import { containers } from './containers.ts'
import { files } from './files.ts'
import type { Proof } from './proof.ts'
import { services } from './services.ts'
import { store } from './store.ts'
import { watch } from './watch.ts'

const proofs: readonly Proof[] = [...services, ...files, watch, ...store, containers]

const { values } = parseArgs({
  options: { json: { type: 'boolean', default: false }, only: { type: 'string', multiple: true, default: ['*'] } },
})
const asked = proofs.filter(({ name }) => values.only.some((pattern) => matchesGlob(name, pattern)))

if (asked.length === 0) {
  const names = proofs.map(({ name }) => name).join(', ')
  process.stderr.write(`portico: cannot show ${values.only.join(', ')}: the proofs are ${names}\n`)
  process.exitCode = 2
} else {
  await main()
}

async function main(): Promise<void> {
  const say = (text: string) => void process.stderr.write(`${text}\n`)
  say('images …')
  await using test = await testPlatform({
    runnerSettings: [await serviceSettings()],
    // The real one, with a door to end an object where it stands.
    worker: join(import.meta.dirname, '..', 'chaos', 'worker', 'worker.ts'),
  })
  // Whoever ends this early leaves no machines behind.
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void test[Symbol.asyncDispose]().then(() => process.exit(130)))
  const rows: (Finding & { proof: string })[] = []
  for (const proof of asked) {
    const start = performance.now()
    say(`${proof.name} …`)
    const findings = await proof.run({ test, say }).catch((error: unknown): Finding[] => {
      say(`${String(error)}\n${test.log().slice(-4000)}`)
      return [{ what: 'failed', found: String(error), holds: false }]
    })
    say(`${proof.name}: ${Math.round((performance.now() - start) / 1000)} s`)
    rows.push(...findings.map((finding) => ({ proof: proof.name, ...finding })))
  }
  process.stdout.write(values.json ? `${JSON.stringify(rows)}\n` : table(rows))
  if (rows.some(({ holds }) => !holds)) process.exitCode = 1
}
