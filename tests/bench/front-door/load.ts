/**
 * One short round of load: wrk as a process of its own, on one thread. Its latencies are those that callers saw: wrk adds made-up samples for requests
 * that it could not send while it waited for an answer, and they are taken out again here.
 */

import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'

/** Debian's wrk; figures of another version do not compare. */
const version = '4.1.0'
const script = join(import.meta.dirname, 'load.lua')

export interface Target {
  readonly url: string
  /** Asked in turn. */
  readonly paths: readonly string[]
  /** Sent by POST, with the key; without it the requests are plain GETs. */
  readonly post?: { readonly body: string; readonly authorization: string }
  /** What the requests say as `Host`; that of the URL unless given. */
  readonly host?: string
}

export interface Load {
  readonly connections: number
  readonly seconds: number
  /** Whether latencies are wanted, which costs time after the round. */
  readonly latencies: boolean
}

export interface Round {
  readonly perSecond: number
  /** Milliseconds that half and 99 of 100 requests took at most; NaN unless asked for. */
  readonly p50: number
  readonly p99: number
  /** What wrk itself calls the 99th percentile. */
  readonly correctedP99: number
  /** Processor seconds of wrk. */
  readonly cpuSeconds: number
}

interface Printed {
  readonly requests: number
  readonly microseconds: number
  readonly failed: number
  readonly corrected_p99: number
  readonly latencies: readonly (readonly [number, number])[]
}

/** Why there can be no load on this host, or undefined. */
export async function missingLoad(): Promise<string | undefined> {
  const said = await run(['wrk', '-v'], {}).catch(() => undefined)
  if (said === undefined) return 'wrk is not installed (Debian package wrk)'
  return said.includes(` ${version}`) || said.includes(`/${version}`) ? undefined : `wrk is not of version ${version}`
}

/** Runs a round; throws if a single request failed. */
export async function load(target: Target, { connections, seconds, latencies }: Load): Promise<Round> {
  const args = ['wrk', '-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '30s', '-s', script, target.url]
  const environment = {
    LOAD_PATHS: target.paths.join(' '),
    LOAD_METHOD: target.post === undefined ? 'GET' : 'POST',
    LOAD_BODY: target.post?.body ?? '',
    LOAD_AUTHORIZATION: target.post?.authorization ?? '',
    LOAD_HOST: target.host ?? '',
    LOAD_LATENCIES: latencies ? 'yes' : 'no',
  }
  const said = await run(args, environment)
  const line = said.split('\n').find((one) => one.startsWith('{'))
  if (line === undefined) throw new Error(`cannot measure: wrk said ${said}`)
  const printed = JSON.parse(line) as Printed
  if (printed.failed > 0) throw new Error(`cannot measure: ${printed.failed} of ${printed.requests} requests failed`)
  const seen = withoutCorrection(printed, connections)
  return {
    perSecond: (printed.requests * 1e6) / printed.microseconds,
    p50: percentile(seen, 0.5) / 1000,
    p99: percentile(seen, 0.99) / 1000,
    correctedP99: printed.corrected_p99 / 1000,
    cpuSeconds: cpuOfChildren(said),
  }
}

/** wrk adds to each count that of one mean interval later, from the far end on; so each true count is the difference of the two. */
function withoutCorrection({ requests, microseconds, latencies }: Printed, connections: number): Map<number, number> {
  const interval = Math.floor(microseconds / Math.max(1, Math.floor(requests / connections)))
  const counts = new Map(latencies)
  return new Map(latencies.map(([at, count]) => [at, at > interval ? count - (counts.get(at + interval) ?? 0) : count]))
}

function percentile(counts: ReadonlyMap<number, number>, share: number): number {
  const sorted = [...counts].sort(([a], [b]) => a - b)
  let left = share * sorted.reduce((sum, [, count]) => sum + count, 0)
  for (const [at, count] of sorted) {
    left -= count
    if (left <= 0) return at
  }
  return Number.NaN
}

/** The last line of the shell's `times`: what its children took. */
function cpuOfChildren(said: string): number {
  const times = [...said.matchAll(/^(\d+)m([\d.]+)s (\d+)m([\d.]+)s$/gm)].at(-1)
  if (times === undefined) return Number.NaN
  const [, userMinutes, user, systemMinutes, system] = times.map(Number)
  return ((userMinutes ?? 0) + (systemMinutes ?? 0)) * 60 + (user ?? 0) + (system ?? 0)
}

async function run(args: readonly string[], environment: Readonly<Record<string, string>>): Promise<string> {
  const child = spawn('sh', ['-c', '"$@"; times', 'sh', ...args], {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  return await text(child.stdout)
}
