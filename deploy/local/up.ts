/** `npm run up`: the platform on this machine until Ctrl-C. With `--json`, stdout carries one line of facts and nothing else. */

import { appendFileSync, mkdirSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { paths } from '../checkout.ts'
import { type Connection, openPlatform, type Platform, type PlatformOptions } from './platform.ts'
import { stopAsked } from './signals.ts'

const usage = `Usage: npm run up -- [options]

Runs the whole platform on this machine: the front door and its runners.

  --port N          port of the front door (default 8787; 0 takes any free one)
  --state-dir DIR   where everything is kept (default .portico/local)
  --runners N       how many runners (default 1)
  --region NAME     region of key and runners (default local)
  --accelerator A   auto, kvm or tcg (default auto: KVM where it really boots)
  --policy FILE     which images may be booted (default deploy/local/portico.yaml)
  --json            print one line of JSON once ready, and nothing else, on stdout
`

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '8787' },
    'state-dir': { type: 'string', default: paths.local },
    runners: { type: 'string', default: '1' },
    region: { type: 'string', default: 'local' },
    accelerator: { type: 'string', default: 'auto' },
    policy: { type: 'string', default: paths.localPolicy },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
})

if (values.help) process.stdout.write(usage)
else {
  process.exitCode = await main().catch((error: unknown) => {
    process.stderr.write(`portico: ${error instanceof Error ? error.message : String(error)}\n`)
    return 1
  })
}

async function main(): Promise<number> {
  const stateDir = resolve(values['state-dir'])
  const port = wholeNumber('port', values.port, 0, 65_535)
  const runners = wholeNumber('runners', values.runners, 1, 16)
  const accelerator = oneOf('accelerator', values.accelerator, ['auto', 'kvm', 'tcg'] as const)
  if (!/^[a-z][a-z0-9]{1,15}$/.test(values.region))
    throw usageError('region', 'a region is 2 to 16 letters and digits, such as local or us')
  const stop = stopAsked()
  mkdirSync(stateDir, { recursive: true, mode: 0o700 })
  const logFile = join(stateDir, 'platform.log')
  const platform = await openPlatform({
    stateDir,
    port,
    runners,
    region: values.region,
    accelerator,
    policy: { file: resolve(values.policy) },
    ...telemetry(process.env),
    onStep: (name, ms) => note(`${name} ready in ${(ms / 1000).toFixed(2)} s`),
    log: (text) => appendFileSync(logFile, text),
  })
  const connectionFile = join(stateDir, 'connection.json')
  try {
    const connection = facts(platform)
    await writeFile(connectionFile, `${JSON.stringify(connection)}\n`, { mode: 0o600 })
    process.stdout.write(values.json ? `${JSON.stringify(connection)}\n` : welcome(connection, logFile))
    const failed = await Promise.race([stop.then(() => undefined), platform.failed])
    if (failed === undefined) {
      note('stopping')
      return 0
    }
    process.stderr.write(`portico: cannot go on: ${failed} ended unexpectedly; see ${logFile}\n`)
    return 1
  } finally {
    await rm(connectionFile, { force: true })
    await platform.close()
  }
}

/** The front door exports where its runners do; a collector is often on this machine. */
function telemetry(environment: NodeJS.ProcessEnv): Pick<PlatformOptions, 'variables' | 'networks'> {
  const { OTEL_EXPORTER_OTLP_ENDPOINT = '', OTEL_EXPORTER_OTLP_HEADERS = '' } = environment
  if (OTEL_EXPORTER_OTLP_ENDPOINT === '') return {}
  return { variables: { OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS }, networks: ['public', 'local'] }
}

function facts(platform: Platform): Connection {
  const { url, apiKey, adminKey, appDomain, sandboxDomain, stateDir } = platform
  return { url, apiKey, adminKey, appDomain, sandboxDomain, stateDir }
}

function welcome({ url, apiKey }: Connection, logFile: string): string {
  return `
Portico is up.

  URL   ${url}
  page  ${url}/console/
  key   ${apiKey}
  log   ${logFile}

  export PORTICO_URL=${url} PORTICO_API_KEY=${apiKey}

Try it:

  curl -s ${url}/v1/runs -H 'Authorization: Bearer ${apiKey}' -H 'content-type: application/json' -d '{"image":"python"}'
  npx portico run python -- python3 -c 'print("hi")'

Ctrl-C stops it.
`
}

function note(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`${text}\n`)
}

function wholeNumber(name: string, value: string, least: number, most: number): number {
  const number = Number(value)
  if (!Number.isInteger(number) || number < least || number > most)
    throw usageError(name, `give a number from ${least} to ${most}`)
  return number
}

function oneOf<const Choice extends string>(name: string, value: string, choices: readonly Choice[]): Choice {
  const found = choices.find((choice) => choice === value)
  if (found === undefined) throw usageError(name, `give one of ${choices.join(', ')}`)
  return found
}

function usageError(name: string, why: string): Error {
  return new Error(`cannot use --${name}: ${why}`)
}
