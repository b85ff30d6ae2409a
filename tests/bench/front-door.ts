/**
 * What the front door costs: commands that are answered at once, through the real Worker, its objects and the tunnel, next to a bare Worker and a bare
 * object with a WebSocket on the same runtime. Others may use the machine meanwhile, so all of them take turns in short rounds, and each round is held
 * against its own floor.
 */

import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { paths } from '@portico/deploy/checkout'
import { openBare } from './front-door/bare.ts'
import { load, missingLoad, type Round } from './front-door/load.ts'
import { openPortico } from './front-door/portico.ts'
import type { Scene } from './front-door/scene.ts'
import type { Measurement } from './measurement.ts'
import { quantile, type Row, row, unavailable } from './stats.ts'

const rounds = 5
const seconds = 2
const concurrencies = [1, 32, 256] as const
/** Where latencies are looked at. */
const middle = 32
const body = JSON.stringify({ command: ['/bin/true'] })

type Kind = 'worker.hello' | 'do.echo' | 'edge'

interface Taken extends Round {
  /** Cores that each process kept busy. */
  readonly cores: { readonly workerd: number; readonly peer: number; readonly load: number }
}

const names = [
  ...concurrencies.flatMap((count) => [`worker.hello.${count}`, `do.echo.${count}`, `edge.rps.${count}`]),
  `edge.p50.${middle}`,
  `edge.p99.${middle}`,
]

export const frontDoor: Measurement = {
  rows: names,
  async run({ say, wanted }) {
    const missing = await missingLoad()
    if (missing !== undefined) return names.filter(wanted).map((name) => unavailable(name, 'req/s', missing))
    await mkdir(paths.temporary, { recursive: true })
    const directory = await mkdtemp(join(paths.temporary, 'bench-'))
    try {
      await using bare = await openBare(join(directory, 'bare'), body)
      await using portico = await openPortico(join(directory, 'platform'), body)
      return await takeTurns({ bare, portico, say })
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  },
}

interface Turns {
  readonly bare: Awaited<ReturnType<typeof openBare>>
  readonly portico: Scene
  readonly say: (text: string) => void
}

async function takeTurns({ bare, portico, say }: Turns): Promise<Row[]> {
  const scenes: Record<Kind, Scene> = {
    'worker.hello': { ...bare, target: bare.hello },
    'do.echo': bare,
    edge: portico,
  }
  const kinds = Object.keys(scenes) as Kind[]
  const taken = new Map<string, Taken[]>()
  // The first round warms up.
  for (let round = 0; round <= rounds; round++) {
    for (const connections of concurrencies) {
      for (const kind of kinds) {
        const name = `${kind}.${connections}`
        const found = await take(scenes[kind], connections)
        say(`${name}: ${Math.round(found.perSecond)} req/s, ${coresOf([found])}`)
        if (round > 0) taken.set(name, [...(taken.get(name) ?? []), found])
      }
    }
  }
  return concurrencies.flatMap((connections) =>
    rowsOf(connections, (kind) => taken.get(`${kind}.${connections}`) ?? []),
  )
}

async function take(scene: Scene, connections: number): Promise<Taken> {
  const before = await scene.cpu()
  const found = await load(scene.target, { connections, seconds, latencies: connections === middle })
  const after = await scene.cpu()
  const cores = {
    workerd: (after.workerd - before.workerd) / seconds,
    peer: (after.peer - before.peer) / seconds,
    load: found.cpuSeconds / seconds,
  }
  return { ...found, cores }
}

function rowsOf(connections: number, of: (kind: Kind) => readonly Taken[]): Row[] {
  const [hello, echo, edge] = [of('worker.hello'), of('do.echo'), of('edge')]
  const rate = (taken: readonly Taken[]) => taken.map(({ perSecond }) => perSecond)
  const floor = `do.echo.${connections}`
  const rows = [
    { ...row(`worker.hello.${connections}`, 'req/s', rate(hello)), note: coresOf(hello) },
    { ...row(floor, 'req/s', rate(echo)), note: coresOf(echo) },
    {
      ...against(row(`edge.rps.${connections}`, 'req/s', rate(edge), floor, rate(echo)), rate(edge), rate(echo)),
      note: coresOf(edge),
    },
  ]
  if (connections !== middle) return rows
  const latency = (name: 'p50' | 'p99', note = '') => {
    const [ours, theirs] = [edge, echo].map((taken) => taken.map((one) => one[name])) as [number[], number[]]
    const found = against(row(`edge.${name}.${middle}`, 'ms', ours, `do.echo's ${name}`, theirs), ours, theirs)
    return note === '' ? found : { ...found, note }
  }
  const corrected = quantile(
    edge.map(({ correctedP99 }) => correctedP99),
    0.5,
  )
  return [
    ...rows,
    latency('p50'),
    latency('p99', `as callers saw it; ${corrected.toPrecision(3)} ms with wrk's correction`),
  ]
}

/** The ratio as the median of the rounds' own, as the machine is not equally fast in all of them. */
function against(found: Row, ours: readonly number[], floors: readonly number[]): Row {
  const ratios = ours.map((value, round) => value / (floors[round] ?? Number.NaN))
  return { ...found, ratio: Number(quantile(ratios, 0.5).toPrecision(4)) }
}

function coresOf(taken: readonly Taken[]): string {
  const share = (name: keyof Taken['cores']) =>
    quantile(
      taken.map(({ cores }) => cores[name]),
      0.5,
    ).toFixed(2)
  return `cores: workerd ${share('workerd')}, peer ${share('peer')}, load ${share('load')}`
}
