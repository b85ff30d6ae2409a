/**
 * `npm run bench [-- ROW…] [--only PATTERN] [--samples N] [--json]`: how fast it is, next to what the machine could do at best and to what others take, all
 * from the same run. A measurement makes one row or more; naming rows, or a pattern with `*`, runs only the measurements that make them. One that fails says
 * so in its rows and does not end the others; the exit code is 1 then.
 */

import { cpus, totalmem } from 'node:os'
import { matchesGlob } from 'node:path'
import { parseArgs } from 'node:util'
import { channelFloor } from './channel-floor.ts'
import { checkpoints } from './checkpoints.ts'
import { create } from './create.ts'
import { exec } from './exec.ts'
import { files } from './files.ts'
import { forks } from './forks.ts'
import { frontDoor } from './front-door.ts'
import { judged } from './goals.ts'
import { images } from './images.ts'
import { interactive } from './interactive.ts'
import type { Measurement, Run } from './measurement.ts'
import { memory } from './memory.ts'
import { ports } from './ports.ts'
import { saving } from './saving.ts'
import { starts } from './starts.ts'
import { type Row, table, unavailable } from './stats.ts'
import { store } from './store.ts'
import { transfer } from './transfer.ts'

const measurements: readonly Measurement[] = [
  create,
  starts,
  exec,
  forks,
  saving,
  memory,
  transfer,
  frontDoor,
  ports,
  interactive,
  files,
  checkpoints,
  store,
  images,
]

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true, default: [] },
    samples: { type: 'string', default: '30' },
  },
})
const known = measurements.flatMap(({ rows }) => rows)
const patterns = [...positionals, ...values.only]
const unknown = patterns.filter((pattern) => !known.some((name) => matchesGlob(name, pattern)))
const samples = Number(values.samples)

if (unknown.length > 0) {
  refuse(`cannot measure ${unknown.join(', ')}: the rows are ${known.join(', ')}`)
} else if (!Number.isInteger(samples) || samples < 1) {
  refuse('cannot measure: --samples must be a whole number of 1 or more')
} else {
  await main()
}

function refuse(why: string): void {
  process.stderr.write(`portico: ${why}\n`)
  process.exitCode = 2
}

async function main(): Promise<void> {
  const wanted = (name: string) => patterns.length === 0 || patterns.some((pattern) => matchesGlob(name, pattern))
  const say = (text: string) => {
    if (process.stderr.isTTY) process.stderr.write(`${text}\n`)
  }
  const rows: Row[] = []
  for (const measurement of measurements) {
    if (measurement.rows.some(wanted)) rows.push(...(await measure(measurement, { say, samples, wanted })))
  }
  await channelFloor.close()
  const shown = judged(rows).filter(({ name }) => wanted(name))
  process.stdout.write(values.json ? `${JSON.stringify({ machine: machine(), rows: shown })}\n` : table(shown))
}

async function measure(measurement: Measurement, run: Run): Promise<Row[]> {
  try {
    return await measurement.run(run)
  } catch (error) {
    process.exitCode = 1
    const why = error instanceof Error ? error.message : String(error)
    return measurement.rows.filter(run.wanted).map((name) => unavailable(name, 'ms', why))
  }
}

function machine(): object {
  const [cpu] = cpus()
  return {
    cpu: cpu?.model ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    platform: process.platform,
    node: process.version,
  }
}
