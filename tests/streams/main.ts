/**
 * `npm run streams [-- --only PATTERN] [--json]`: the long forms of what streams have to carry, by real clients and real machines, as one table. The exit
 * code is 1 when something did not hold.
 */

import { matchesGlob } from 'node:path'
import { parseArgs } from 'node:util'
import { table } from '../kit/findings.ts'
import { testPlatform } from '../kit/platform.ts'
import { Relay } from '../kit/relay.ts'
import { curl } from './curl.ts'
import { echo } from './echo.ts'
import { idle } from './idle.ts'
import { many } from './many.ts'
import type { Finding, Proof } from './proof.ts'
import { pythonServer } from './python-server.ts'
import { slowReader } from './slow-reader.ts'
import { vite } from './vite.ts'

const proofs: readonly Proof[] = [...curl, echo, pythonServer, vite, ...slowReader, many, idle]

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
  await using relay = new Relay()
  await using test = await testPlatform({ tunnelPort: (frontDoor) => relay.open(frontDoor) })
  // Whoever ends this early leaves no machines behind.
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void test[Symbol.asyncDispose]().then(() => process.exit(130)))
  const say = (text: string) => void process.stderr.write(`${text}\n`)
  const rows: (Finding & { proof: string })[] = []
  for (const proof of asked) {
    const start = performance.now()
    say(`${proof.name} …`)
    const findings = await proof.run({ test, relay, say }).catch((error: unknown): Finding[] => {
      say(`${String(error)}\n${test.log().slice(-4000)}`)
      return [{ what: 'failed', found: String(error), holds: false }]
    })
    say(`${proof.name}: ${Math.round((performance.now() - start) / 1000)} s`)
    rows.push(...findings.map((finding) => ({ proof: proof.name, ...finding })))
  }
  process.stdout.write(values.json ? `${JSON.stringify(rows)}\n` : table(rows))
  if (rows.some(({ holds }) => !holds)) process.exitCode = 1
}
