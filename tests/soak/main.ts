/**
 * `npm run soak [-- cycles|forks|kills …] [--short] [--step PATTERN]`: what only shows after a long time. Prints what it found; the exit code is 1 when a
 * hash did not hold, a sandbox was lost, or a sandbox got slower or larger with age. `--short` is what `npm test` runs; `--step` kills at some steps only,
 * and PORTICO_LOG_LEVEL shows what the killed runners log.
 */

import { matchesGlob } from 'node:path'
import { parseArgs } from 'node:util'
import { quantile } from '../bench/stats.ts'
import { type Cycled, cycle } from './cycles.ts'
import { forkForks } from './generations.ts'
import { killAtEveryStep } from './kills.ts'
import { long, type SoakSize, short } from './size.ts'

const parts = {
  async cycles(size: SoakSize) {
    const cycled = await cycle(size, say)
    return aging(cycled)
  },
  async forks(size: SoakSize) {
    const pauses = await forkForks(size, say)
    return [`${pauses.length} forks of forks, every hash held`]
  },
  async kills(size: SoakSize) {
    const survived = await killAtEveryStep(size, say, (step) => matchesGlob(step, values.step))
    return [
      `killed at ${survived.length} steps, every hash held`,
      ...survived.map(({ step, state, made }) => {
        return `  ${step}: ${state}${made === undefined ? '' : made ? ', whole' : ', not there'}`
      }),
    ]
  },
} as const

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { short: { type: 'boolean', default: false }, step: { type: 'string', default: '*' } },
})
const names = Object.keys(parts) as (keyof typeof parts)[]
const unknown = positionals.filter((name) => !names.some((known) => known === name))

if (unknown.length > 0) {
  process.stderr.write(`portico: cannot run ${unknown.join(', ')}: the parts are ${names.join(', ')}\n`)
  process.exitCode = 2
} else {
  for (const name of names.filter((each) => positionals.length === 0 || positionals.includes(each))) await part(name)
}

async function part(name: keyof typeof parts): Promise<void> {
  const start = performance.now()
  try {
    const lines = await parts[name](values.short ? short : long)
    process.stdout.write(`${name}: ${lines.join('\n')}\n`)
  } catch (error) {
    process.exitCode = 1
    process.stdout.write(`${name}: failed: ${error instanceof Error ? error.message : String(error)}\n`)
  }
  process.stdout.write(`${name}: ${Math.round((performance.now() - start) / 1000)} s\n`)
}

function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

/** Fewer cycles show nothing but what else the host was doing. */
const fewestToJudge = 40

/** The last cycles next to the first: neither time nor room may grow with age. */
function aging({ hibernateMs, resumeMs, bytes }: Cycled): string[] {
  const some = Math.min(20, Math.floor(resumeMs.length / 2))
  const lines = [`${resumeMs.length} cycles, every hash held`]
  const grown: string[] = []
  const compare = (what: string, unit: string, values: readonly number[]) => {
    const first = quantile(values.slice(0, some), 0.5)
    const last = quantile(values.slice(-some), 0.5)
    lines.push(`  ${what}: p50 ${first.toFixed(1)} ${unit} in the first ${some}, ${last.toFixed(1)} in the last`)
    if (last > 1.5 * first) grown.push(what)
  }
  compare('hibernate', 'ms', hibernateMs)
  compare('resume until the first command', 'ms', resumeMs)
  compare(
    'on disk while hibernated',
    'MiB',
    bytes.map((each) => each / 2 ** 20),
  )
  if (grown.length > 0 && resumeMs.length >= fewestToJudge)
    throw new Error([...lines, `grows with age: ${grown.join(', ')}`].join('\n'))
  return lines
}
