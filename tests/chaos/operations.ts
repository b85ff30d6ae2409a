/**
 * What the clients of a chaos run do, through the SDK with its repetitions and keys. Each operation has its sandbox for itself; what came of it goes into the
 * model, and an answer that may not be is a finding at once.
 */

import { PorticoError, type Sandbox } from '@portico/sdk'
import type { Journal } from './journal.ts'
import { judgeLog, type Model, type ModelSandbox, type ModelSnapshot, type Token } from './model.ts'
import type { Random } from './random.ts'
import type { ChaosClient, Scene } from './scene.ts'

export interface World {
  readonly scene: Scene
  readonly model: Model<ChaosClient>
  readonly journal: Journal
  /** A number never given before. */
  number(): number
}

type Known = ModelSandbox<ChaosClient>

/** Each answers false where there is nothing to do it with. */
type Operation = (world: World, random: Random) => Promise<boolean>

const mostSandboxes = 8
/** Creates leave room for forks and restores. */
const mostByCreate = 6
const mostSnapshots = 3
const execSec = 10

/** How often each is chosen. */
const weights = {
  exec: 40,
  check: 8,
  create: 18,
  fork: 12,
  hibernate: 8,
  resume: 8,
  snapshot: 6,
  restore: 7,
  'delete snapshot': 3,
  destroy: 5,
  glean: 4,
} as const
type Kind = keyof typeof weights

const operations: Readonly<Record<Kind, Operation>> = {
  exec: onOne(['running', 'unsure'], write),
  check: onOne(['running', 'unsure'], async (world, one) => {
    const read = await attempt(world, 'check', one, () => one.handle.exec('cat /root/log 2>/dev/null || true'))
    if (read.ok) judge(world, one, read.value.stdout)
    else notRunning(world, one, read.code)
  }),
  create: async (world, random) => {
    const client = random.pick(world.scene.clients)
    if (client === undefined || world.model.count >= mostByCreate) return false
    await create(world, client)
    return true
  },
  fork: onOne(['running'], async (world, one, random) => {
    const count = Math.min(1 + Math.floor(random.next() * 2), mostSandboxes - world.model.count)
    if (count < 1) return
    await born(world, 'fork', one.client, one.handle.id, one.tokens, async () => {
      return (await one.handle.fork(count)).children
    })
  }),
  hibernate: onOne(['running', 'unsure'], async (world, one) => {
    const done = await attempt(world, 'hibernate', one, () => one.handle.hibernate())
    one.state = done.ok ? 'hibernated' : 'unsure'
  }),
  resume: onOne(['hibernated', 'unsure'], async (world, one) => {
    const done = await attempt(world, 'resume', one, () => one.handle.resume())
    one.state = done.ok ? 'running' : 'unsure'
  }),
  snapshot: onOne(['running'], async (world, one) => {
    if ([...world.model.snapshots.values()].filter(({ exists }) => exists !== 'no').length >= mostSnapshots) return
    const tokens = [...one.tokens]
    const done = await attempt(world, 'snapshot', one, () => one.handle.snapshot())
    if (done.ok) world.model.addSnapshot(done.value.id, one.client, tokens)
    else world.model.unsettledSnapshots += 1
  }),
  restore: onSnapshot(async (world, snapshot) => {
    if (world.model.count >= mostSandboxes) return
    const { client, tokens } = snapshot
    const mark = `r${world.number()}`
    const restore = () => client.portico.restore(snapshot.id, { timeoutSec: 0, labels: { chaos: mark } })
    await born(world, 'restore', client, mark, tokens, async () => [await restore()])
  }),
  'delete snapshot': onSnapshot(async (world, snapshot) => {
    const { portico } = snapshot.client
    snapshot.exists = 'perhaps'
    const done = await attempt(world, 'delete snapshot', undefined, () => portico.deleteSnapshot(snapshot.id))
    if (done.ok || done.code === 'snapshot_not_found') snapshot.exists = 'no'
  }),
  destroy: onOne(['running', 'hibernated', 'unsure'], destroy),
  glean: async (world, random) => {
    const client = random.pick(world.scene.clients)
    if (client === undefined) return false
    await glean(world, client)
    return true
  },
}

/** One operation, chosen and done. */
export async function operate(world: World, random: Random): Promise<void> {
  const kind = random.weighted(weights)
  for (const next of [kind, 'create', 'exec'] as const) if (await operations[next](world, random)) return
}

/** A small sandbox that nobody but the run ends. */
export async function create(world: World, client: ChaosClient): Promise<void> {
  const mark = `c${world.number()}`
  const options = { image: 'python', memMiB: 128, diskMiB: 256, timeoutSec: 0, labels: { chaos: mark } }
  await born(world, 'create', client, mark, [], async () => [await client.portico.create(options)])
}

async function write(world: World, one: Known): Promise<void> {
  const text = `t${world.number()}`
  const line = `echo ${text} >> /root/log`
  const done = await attempt(world, 'exec', one, () => one.handle.exec(line, { timeoutSec: execSec }))
  one.tokens.push({ text, acknowledged: done.ok })
  if (!done.ok) return notRunning(world, one, done.code)
  one.state = 'running'
  if (done.value.exitCode !== 0)
    world.journal.find(`${one.handle.id}: the command of ${text} answered an exit code of ${done.value.exitCode}`)
}

export async function destroy(world: World, one: Known): Promise<void> {
  one.exists = 'perhaps'
  const done = await attempt(world, 'destroy', one, () => one.handle.destroy())
  // A repetition may find it gone by the first try; that it was destroyed and not lost is looked up in the history.
  if (done.ok || done.code === 'sandbox_not_found') one.exists = 'no'
}

export function judge({ journal }: World, one: Known, text: string): void {
  for (const wrong of judgeLog(one.tokens, text)) journal.find(`${one.handle.id}: ${wrong}`)
}

/** Destroys what calls made that were never answered, and what may be destroyed already. */
async function glean(world: World, client: ChaosClient): Promise<void> {
  const { model } = world
  const listed = await attempt(world, 'list', undefined, () => client.portico.list())
  if (!listed.ok) return
  for (const one of listed.value) {
    const known = model.sandboxes.get(one.id)
    if (known?.exists === 'perhaps' && !known.busy) await held(known, () => destroy(world, known))
    const stranger = { id: one.id, labels: one.labels, forked_from: one.forkedFrom }
    // What is still being made may be another call's, whose answer is on its way.
    const isUnderWay = one.status === 'creating' || model.sandboxes.get(one.forkedFrom ?? '')?.busy === true
    if (known === undefined && !isUnderWay && model.explains(client, stranger))
      await attempt(world, 'destroy unknown', undefined, () => one.destroy())
  }
}

/** Runs what makes sandboxes that begin with these tokens. */
async function born(
  world: World,
  kind: Kind,
  client: ChaosClient,
  mark: string,
  tokens: readonly Token[],
  run: () => Promise<readonly Sandbox[]>,
): Promise<void> {
  const { model, journal } = world
  const inherited = [...tokens]
  const making = () => model.making(client, mark, kind === 'fork' ? 2 : 1, run)
  const done = await attempt(world, kind, undefined, making, mark)
  if (!done.ok) return
  for (const handle of done.value)
    if (!model.add(handle, client, inherited))
      journal.find(`${handle.id} came of two calls, the last is ${kind} ${mark}`)
}

type Done<Value> = { readonly ok: true; readonly value: Value } | { readonly ok: false; readonly code: string }

/** Tries something, and says what came of it. What may not be answered, whatever else goes on, is a finding. */
async function attempt<Value>(
  { journal, model }: World,
  kind: string,
  one: Known | undefined,
  run: () => Promise<Value>,
  what = one?.handle.id ?? '',
): Promise<Done<Value>> {
  const start = performance.now()
  journal.tried(kind)
  const say = (end: string) => journal.trace(`${kind} ${what} ${end} after ${Math.round(performance.now() - start)} ms`)
  try {
    const value = await run()
    journal.acknowledged(kind)
    say('ok')
    return { ok: true, value }
  } catch (error) {
    const { code, retryable } = error instanceof PorticoError ? error : { code: String(error), retryable: false }
    journal.refused(kind, code)
    say(`${code}: ${error instanceof Error ? error.message : ''}`)
    const isKnown = one !== undefined && model.sandboxes.get(one.handle.id)?.exists === 'yes'
    const isStale = code === 'sandbox_not_found' && !isKnown
    const isState = one?.state !== 'running' && (code === 'sandbox_hibernated' || code === 'sandbox_not_running')
    if (!retryable && !isStale && !isState) journal.find(`${kind} ${what}: ${code}: ${String(error)}`)
    return { ok: false, code }
  }
}

function notRunning({ journal }: World, one: Known, code: string): void {
  if (code === 'sandbox_hibernated') {
    if (one.state === 'running') journal.find(`${one.handle.id} is hibernated and should run`)
    one.state = 'hibernated'
  }
}

function onOne(
  states: readonly Known['state'][],
  run: (world: World, one: Known, random: Random) => Promise<void>,
): Operation {
  return async (world, random) => {
    const one = random.pick(world.model.idle(states))
    if (one === undefined) return false
    await held(one, () => run(world, one, random))
    return true
  }
}

function onSnapshot(run: (world: World, one: ModelSnapshot<ChaosClient>) => Promise<void>): Operation {
  return async (world, random) => {
    const all = [...world.model.snapshots.values()]
    const one = random.pick(all.filter(({ busy, exists }) => !busy && exists === 'yes'))
    if (one === undefined) return false
    await held(one, () => run(world, one))
    return true
  }
}

async function held(one: { busy: boolean }, run: () => Promise<void>): Promise<void> {
  one.busy = true
  try {
    await run()
  } finally {
    one.busy = false
  }
}
