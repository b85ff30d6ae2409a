/**
 * `npm run chaos [-- --seconds 300 --seed 1 --lanes 4]`: clients work while tunnels are cut, runners and the front door killed and objects evicted. Prints a table
 * of what was done and what went wrong; the exit code is 1 when a sandbox was lost, doubled or left, or a command did not run exactly once.
 */

import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { chaos, wholeFleet } from './chaos.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '300' },
    seed: { type: 'string', default: '1' },
    lanes: { type: 'string', default: '4' },
    /** Where trace and log of the parts go. */
    trace: { type: 'string' },
  },
})
const numbers = [values.seconds, values.seed, values.lanes].map(Number)
const [seconds = 0, seed = 0, lanes = 0] = numbers

if (numbers.some((number) => !Number.isInteger(number) || number < 1)) {
  process.stderr.write('portico: cannot run: --seconds, --seed and --lanes are whole numbers from 1\n')
  process.exitCode = 2
} else {
  const { journal, log } = await chaos({ seconds, seed, lanes, fleet: wholeFleet })
  process.stdout.write(`seed ${seed}, ${seconds} s, ${lanes} lanes\n\n${journal.summary()}\n`)
  if (values.trace) writeFileSync(values.trace, `${journal.tail(Number.POSITIVE_INFINITY)}\n\n${log}`)
  if (journal.findings.length > 0) {
    process.stdout.write(`\nthe last of the trace:\n${journal.tail(60)}\n`)
    process.exitCode = 1
  }
}
