/**
 * `npm run bench [-- ROW…] [--json]`: how fast it is, next to what the machine could do at best, both from the same run.
 * A measurement makes one row or more; naming rows runs only the measurements that make them.
 */

import { cpus, totalmem } from 'node:os'
import { parseArgs } from 'node:util'
import { channelFloor } from './channel-floor.ts'
import { create } from './create.ts'
import { exec } from './exec.ts'
import type { Row } from './stats.ts'
import { table } from './stats.ts'
import { transfer } from './transfer.ts'

export interface Measurement {
  readonly rows: readonly string[]
  /** Runs it; `say` tells a person what goes on. */
  run(say: (text: string) => void): Promise<Row[]>
}

const measurements: readonly Measurement[] = [create, exec, transfer]

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'boolean', default: false } },
})
const known = measurements.flatMap(({ rows }) => rows)
const unknown = positionals.filter((name) => !known.includes(name))

if (unknown.length > 0) {
  process.stderr.write(`portico: cannot measure ${unknown.join(', ')}: the rows are ${known.join(', ')}\n`)
  process.exitCode = 2
} else {
  await main()
}

async function main(): Promise<void> {
  const say = (text: string) => {
    if (process.stderr.isTTY) process.stderr.write(`${text}\n`)
  }
  const wanted = (name: string) => positionals.length === 0 || positionals.includes(name)
  const rows: Row[] = []
  for (const measurement of measurements) {
    if (measurement.rows.some(wanted)) rows.push(...(await measurement.run(say)).filter(({ name }) => wanted(name)))
  }
  await channelFloor.close()
  process.stdout.write(values.json ? `${JSON.stringify({ machine: machine(), rows })}\n` : table(rows))
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
