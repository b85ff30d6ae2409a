/**
 * The runner's process: reads the configuration, starts the daemon, stops it on a signal. `doctor` says what the host has and lacks instead.
 *
 *   runner [--config FILE]          run until SIGTERM or SIGINT; a second signal stops without waiting for anybody
 *   runner doctor [--config FILE] [--json]
 *   runner config check [FILE] [--config FILE] [--json]   is this policy, or the configured one, good?
 */

import { parseArgs } from 'node:util'
import { AppError } from '@portico/shared/errors'
import { daemonConfig, loadConfig } from './config.ts'
import { startDaemon } from './daemon.ts'
import { doctor } from './doctor/doctor.ts'
import { createLog } from './log.ts'
import { checkConfig } from './policy/check.ts'

const usage =
  'usage: runner [--config FILE] | runner doctor [--config FILE] [--json] | runner config check [FILE] [--config FILE] [--json]'

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  createLog('info').fatal({ error }, 'runner.start')
  process.exitCode = 1
}

async function main(args: string[]): Promise<number> {
  const { values, positionals } = readArguments(args)
  if (positionals[0] === 'doctor') return await doctor({ config: values.config, json: values.json })
  if (positionals[0] === 'config')
    return await checkConfig({ file: positionals[2], config: values.config, json: values.json })
  return await run(values.config)
}

async function run(configFile: string | undefined): Promise<number> {
  const config = await loadConfig(daemonConfig, configFile, process.env)
  const log = createLog(config.logLevel)
  const start = performance.now()
  const stopping = nextSignal()
  const daemon = await startDaemon(config, { log })
  log.info({ outcome: 'ok', ms: Math.round(performance.now() - start) }, 'runner.start')
  const signal = await stopping
  log.info({ signal }, 'runner.drain')
  const hurry = new AbortController()
  void nextSignal().then(() => hurry.abort())
  await daemon.stop(hurry.signal)
  return 0
}

/** Resolves with the next signal that asks for the end. */
function nextSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    const names = ['SIGTERM', 'SIGINT'] as const
    const onSignal = (signal: NodeJS.Signals) => {
      for (const name of names) process.off(name, onSignal)
      resolve(signal)
    }
    for (const name of names) process.on(name, onSignal)
  })
}

function readArguments(args: string[]) {
  const options = { config: { type: 'string' }, json: { type: 'boolean', default: false } } as const
  try {
    const parsed = parseArgs({ args, options, allowPositionals: true })
    const [command, ...more] = parsed.positionals
    if (more.length === 0 && (command === undefined || command === 'doctor')) return parsed
    if (command === 'config' && more[0] === 'check' && more.length <= 2) return parsed
  } catch (cause) {
    throw new AppError('invalid_request', `cannot read the arguments; ${usage}`, { cause })
  }
  throw new AppError('invalid_request', `cannot read the arguments; ${usage}`)
}
