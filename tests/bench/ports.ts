/**
 * What a port of a sandbox costs: a server that answers at once, asked straight, through a port of a sandbox, and through the tunnels that others offer,
 * next to a bare Worker with an object. All of them take turns in short rounds, as others may use the machine meanwhile, and each round is held against
 * the floor of its own.
 */

import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { paths } from '@portico/deploy/checkout'
import { openBare } from './front-door/bare.ts'
import { load, missingLoad, type Round } from './front-door/load.ts'
import { cpuSeconds, MeasuredProcess } from './front-door/process.ts'
import type { Measurement, Run } from './measurement.ts'
import { download } from './ports/download.ts'
import { openLocaltunnel, openWstunnel } from './ports/npm-tunnels.ts'
import { openPort } from './ports/portico.ts'
import { openSsh } from './ports/ssh.ts'
import { targetOf, type Way } from './ports/way.ts'
import { quantile, type Row, row, type Unit, unavailable } from './stats.ts'

const rounds = 3
const seconds = 2
const concurrencies = [1, 32] as const
const floorName = 'worker-object'
const fixedServer = resolve(import.meta.dirname, 'ports/fixed-server.ts')

const wayNames = ['direct', floorName, 'port', 'ssh', 'wstunnel', 'localtunnel']
const rowsOfWay = (way: string) => [...concurrencies.map((count) => `${way}.rps.${count}`), `${way}.download.100MB`]
const portLatencies = concurrencies.flatMap((count) => [`port.p50.${count}`, `port.p99.${count}`])

interface Taken extends Round {
  /** Cores that each process kept busy. */
  readonly cores: Readonly<Record<string, number>>
}

export const ports: Measurement = {
  rows: [...wayNames.flatMap(rowsOfWay), ...portLatencies],
  async run(run) {
    const missing = await missingLoad()
    if (missing !== undefined)
      return ports.rows.filter(run.wanted).map((name) => unavailable(name, unitOf(name), missing))
    await mkdir(paths.temporary, { recursive: true })
    const directory = await mkdtemp(join(paths.temporary, 'bench-'))
    try {
      return await inDirectory(directory, run)
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  },
}

async function inDirectory(directory: string, run: Run): Promise<Row[]> {
  await using stack = new AsyncDisposableStack()
  const command = [process.execPath, fixedServer]
  const started = await MeasuredProcess.start(command, {}, 1, (line) => Number(line) || undefined)
  stack.use(started.process)
  const server = started.said
  const open: Readonly<Record<string, () => Promise<Way>>> = {
    direct: async () => direct(server),
    [floorName]: () => openFloor(join(directory, 'bare')),
    port: () => openPort(server, join(directory, 'platform')),
    ssh: () => openSsh(server),
    wstunnel: () => openWstunnel(server),
    localtunnel: () => openLocaltunnel(server),
  }
  const ways: Way[] = []
  const lost: Row[] = []
  for (const name of wayNames) {
    // Floor and peers of the port rows are always measured with them.
    const asked = [...rowsOfWay(name), ...(name === 'port' ? portLatencies : [])].some(run.wanted)
    if (!asked && !rowsOfWay('port').concat(portLatencies).some(run.wanted)) continue
    try {
      ways.push(stack.use(await (open[name] as () => Promise<Way>)()))
    } catch (error) {
      if (name === 'port' || name === floorName) throw error
      lost.push(...rowsOfWay(name).map((each) => unavailable(each, unitOf(each), String(error))))
    }
  }
  return [...(await takeTurns(ways, run)), ...lost]
}

function direct(server: number): Way {
  const target = targetOf(server)
  return { name: 'direct', target, download: '/100MB', processes: {}, [Symbol.asyncDispose]: async () => undefined }
}

/** What any Worker with an object can do at best on this machine. */
async function openFloor(directory: string): Promise<Way> {
  const bare = await openBare(directory, '')
  return {
    name: floorName,
    target: bare.object,
    download: '/object/100MB',
    processes: { workerd: bare.pid },
    [Symbol.asyncDispose]: () => bare[Symbol.asyncDispose](),
  }
}

async function takeTurns(ways: readonly Way[], { say }: Run): Promise<Row[]> {
  const loads = new Map<string, Taken[]>()
  const downloads = new Map<string, number[]>()
  // The first round warms up.
  for (let round = 0; round <= rounds; round++) {
    for (const way of ways) {
      for (const connections of concurrencies) {
        const name = `${way.name}.rps.${connections}`
        const found = await take(way, connections)
        say(`${name}: ${Math.round(found.perSecond)} req/s`)
        if (round > 0) loads.set(name, [...(loads.get(name) ?? []), found])
      }
      const name = `${way.name}.download.100MB`
      const found = await download(way)
      say(`${name}: ${Math.round(found)} MB/s`)
      if (round > 0) downloads.set(name, [...(downloads.get(name) ?? []), found])
    }
  }
  return ways.flatMap((way) => rowsFrom(way, loads, downloads))
}

async function take({ target, processes }: Way, connections: number): Promise<Taken> {
  const used = async () => {
    const each = Object.entries(processes).map(async ([name, pid]) => [name, await cpuSeconds(pid)] as const)
    return await Promise.all(each)
  }
  const before = Object.fromEntries(await used())
  const found = await load(target, { connections, seconds, latencies: true })
  const cores = (await used()).map(([name, after]) => [name, (after - (before[name] ?? 0)) / seconds])
  return { ...found, cores: { ...Object.fromEntries(cores), load: found.cpuSeconds / seconds } }
}

function rowsFrom(
  { name: way, note }: Way,
  loads: ReadonlyMap<string, readonly Taken[]>,
  downloads: ReadonlyMap<string, readonly number[]>,
): Row[] {
  const perSecond = (taken: readonly Taken[]) => taken.map((one) => one.perSecond)
  const rates = concurrencies.flatMap((count): Row[] => {
    const ours = loads.get(`${way}.rps.${count}`) ?? []
    const floor = loads.get(`${floorName}.rps.${count}`) ?? []
    const found = against(
      `${way}.rps.${count}`,
      'req/s',
      perSecond(ours),
      perSecond(floor),
      `${floorName}.rps.${count}`,
    )
    const rate = {
      ...found,
      note: [latenciesOf(ours), coresOf(ours), ...(note === undefined ? [] : [note])].join('; '),
    }
    return way === 'port' ? [rate, ...latencyRows(count, ours, floor)] : [rate]
  })
  const download = `${way}.download.100MB`
  const floor = downloads.get(`${floorName}.download.100MB`) ?? []
  return [...rates, against(download, 'MB/s', downloads.get(download) ?? [], floor, `${floorName}.download.100MB`)]
}

function latencyRows(count: number, ours: readonly Taken[], floor: readonly Taken[]): Row[] {
  return (['p50', 'p99'] as const).map((name) => {
    const values = (taken: readonly Taken[]) => taken.map((one) => one[name])
    const found = against(`port.${name}.${count}`, 'ms', values(ours), values(floor), `${floorName}'s ${name}`)
    return name === 'p99'
      ? { ...found, note: `as callers saw it; ${shownMs(ours, 'correctedP99')} with wrk's correction` }
      : found
  })
}

/** A row whose ratio is the median of the rounds' own; the floor itself has none. */
function against(name: string, unit: Unit, ours: readonly number[], floor: readonly number[], label: string): Row {
  if (floor.length === 0 || name.startsWith(`${floorName}.`)) return row(name, unit, ours)
  const ratios = ours.map((value, round) => value / (floor[round] ?? Number.NaN))
  return { ...row(name, unit, ours, label, floor), ratio: Number(quantile(ratios, 0.5).toPrecision(4)) }
}

function latenciesOf(taken: readonly Taken[]): string {
  return `p50 ${shownMs(taken, 'p50')}, p99 ${shownMs(taken, 'p99')} (${shownMs(taken, 'correctedP99')} corrected)`
}

function shownMs(taken: readonly Taken[], name: 'p50' | 'p99' | 'correctedP99'): string {
  return `${middle(taken.map((one) => one[name])).toPrecision(3)} ms`
}

function coresOf(taken: readonly Taken[]): string {
  const names = Object.keys(taken[0]?.cores ?? {})
  return `cores: ${names.map((name) => `${name} ${middle(taken.map(({ cores }) => cores[name] ?? 0)).toFixed(2)}`).join(', ')}`
}

const middle = (values: readonly number[]) => quantile(values, 0.5)

function unitOf(name: string): Unit {
  if (name.includes('.download.')) return 'MB/s'
  return name.includes('.rps.') ? 'req/s' : 'ms'
}
