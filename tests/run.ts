/**
 * `npm test`: every test of every part, then one line `N passed, N failed`. Arguments go to vitest (a part of a file's name, `-t`, `--project`);
 * with any, the guest agent's Go tests are left out.
 */

import { spawn } from 'node:child_process'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'

interface Count {
  passed: number
  failed: number
}

const root = resolve(import.meta.dirname, '..')
const results = join(process.env.PORTICO_HOME ?? join(root, '.portico'), 'tmp', `test-${process.pid}`)
const vitest = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs')
const filters = process.argv.slice(2)

// Shared by everything that runs, and gone with it: templates of machines (`kit/templates.ts`), and what Node has compiled, as most tests start programs of ours.
process.env.PORTICO_TEST_TEMPLATES = join(results, 'templates')
process.env.NODE_COMPILE_CACHE = join(results, 'compiled')
await mkdir(process.env.PORTICO_TEST_TEMPLATES, { recursive: true })
try {
  const runs = filters.length > 0 ? [await runVitest('some', filters)] : await everything()
  const passed = runs.reduce((sum, run) => sum + run.passed, 0)
  const failed = runs.reduce((sum, run) => sum + run.failed, 0)
  process.exitCode = failed === 0 && passed > 0 ? 0 : 1
  process.stdout.write(`\n${passed} passed, ${failed} failed\n`)
} finally {
  await rm(results, { recursive: true, force: true })
}

/** What needs no virtual machine runs beside what does, which mostly waits for one core. The lane that is done first takes what is left. */
async function everything(): Promise<Count[]> {
  const parts = () => runVitest('parts', projects('edge', 'runner', 'cli', 'tests'))
  const small = () => runVitest('small', projects('shared', 'sdk', 'console'))
  const machines = () => runVitest('vm', projects('vm'))
  const boots = () => runVitest('boots', projects('boots'))
  const chaos = () => runVitest('chaos', projects('chaos'))
  const either = [chaos, boots, small]
  const lanes = await Promise.all([lane([runGo, parts], either), lane([machines], either)])
  return [...lanes.flat(), await runVitest('alone', projects('alone'))]
}

function projects(...names: readonly string[]): string[] {
  return names.flatMap((name) => ['--project', name])
}

type Work = () => Promise<Count>

/** One after the other: its own, then what no other lane has taken. */
async function lane(own: readonly Work[], either: Work[]): Promise<Count[]> {
  const counts: Count[] = []
  for (const work of own) counts.push(await work())
  for (let work = either.shift(); work; work = either.shift()) counts.push(await work())
  return counts
}

/** Vitest's own counts; a run that failed without a failed test (a file that does not load) counts as one failure. */
async function runVitest(name: string, args: readonly string[]): Promise<Count> {
  const report = join(results, `${name}.json`)
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
  const code = await run(process.execPath, [vitest, 'run', ...reporters, ...args])
  const text = await readFile(report, 'utf8').catch(() => '{}')
  const { numPassedTests = 0, numFailedTests = 0 } = JSON.parse(text) as Record<string, number>
  return { passed: numPassedTests, failed: code === 0 ? numFailedTests : Math.max(1, numFailedTests) }
}

/** `go vet` and `go test` of the guest agent, in the build root. */
async function runGo(): Promise<Count> {
  const go = join(root, 'deploy', 'setup', 'go.sh')
  const count: Count = { passed: 0, failed: 0 }
  const output = new Map<string, string>()
  const onLine = (line: string) => {
    if (!line.startsWith('{')) return void process.stdout.write(`${line}\n`)
    const event = JSON.parse(line) as { Action: string; Package?: string; Test?: string; Output?: string }
    const key = `${event.Package} ${event.Test ?? ''}`
    if (event.Action === 'output') output.set(key, (output.get(key) ?? '') + event.Output)
    if (event.Test === undefined) return
    if (event.Action === 'pass') count.passed++
    if (event.Action === 'fail') {
      count.failed++
      process.stdout.write(`guest-agent: ${key} failed\n${output.get(key) ?? ''}`)
    }
  }
  const vet = await run('bash', [go, 'vet', './...'])
  const test = await run('bash', [go, 'test', '-json', './...'], onLine)
  if ((vet !== 0 || test !== 0) && count.failed === 0) {
    count.failed = 1
    for (const text of output.values()) process.stdout.write(text)
  }
  process.stdout.write(`guest-agent: ${count.passed} passed, ${count.failed} failed\n`)
  return count
}

/** Runs a program, its output to ours, or line by line to `onLine`. Resolves with its exit code. */
function run(command: string, args: readonly string[], onLine?: (line: string) => void): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', onLine ? 'pipe' : 'inherit', 'inherit'] })
    let rest = ''
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) if (line !== '') onLine?.(line)
    })
    child.once('error', () => resolve(127))
    child.once('close', (code) => resolve(code ?? 1))
  })
}
