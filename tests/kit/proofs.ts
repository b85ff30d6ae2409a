/**
 * A command that runs proofs, long forms of what the tests show in short, and prints what each found as one table. The exit code is 1 when something did not
 * hold, 2 when nothing of that name is there.
 */

import { matchesGlob } from 'node:path'
import { parseArgs } from 'node:util'
import { type Finding, table } from './findings.ts'
import type { TestPlatform } from './platform.ts'

/** What every proof gets. */
export interface Stage {
  readonly test: TestPlatform
  readonly say: (text: string) => void
}

export interface Proof<Scene extends Stage> {
  readonly name: string
  run(scene: Scene): Promise<Finding[]>
}

/** Runs those of the proofs that `--only PATTERN` names, one after the other, on one stage. What `open` gives to `owned` is closed in the end, last one first. */
export async function prove<Scene extends Stage>(
  proofs: readonly Proof<Scene>[],
  open: (say: Stage['say'], owned: AsyncDisposableStack) => Promise<Scene>,
): Promise<void> {
  const { values } = parseArgs({
    options: { json: { type: 'boolean', default: false }, only: { type: 'string', multiple: true, default: ['*'] } },
  })
  const asked = proofs.filter(({ name }) => values.only.some((pattern) => matchesGlob(name, pattern)))
  if (asked.length === 0) {
    const names = proofs.map(({ name }) => name).join(', ')
    process.stderr.write(`portico: cannot show ${values.only.join(', ')}: the proofs are ${names}\n`)
    process.exitCode = 2
    return
  }
  const say = (text: string) => void process.stderr.write(`${text}\n`)
  await using owned = new AsyncDisposableStack()
  const scene = await open(say, owned)
  // Whoever ends this early leaves no machines behind.
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void owned.disposeAsync().then(() => process.exit(130)))
  const rows: (Finding & { proof: string })[] = []
  for (const proof of asked) {
    const start = performance.now()
    say(`${proof.name} …`)
    const findings = await proof.run(scene).catch((error: unknown): Finding[] => {
      say(`${String(error)}\n${scene.test.log().slice(-4000)}`)
      return [{ what: 'failed', found: String(error), holds: false }]
    })
    say(`${proof.name}: ${Math.round((performance.now() - start) / 1000)} s`)
    rows.push(...findings.map((finding) => ({ proof: proof.name, ...finding })))
  }
  process.stdout.write(values.json ? `${JSON.stringify(rows)}\n` : table(rows))
  if (rows.some(({ holds }) => !holds)) process.exitCode = 1
}
