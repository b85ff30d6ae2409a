/**
 * Forking: room is reserved on the parent's runner, each child gets a record, one call makes them all, and each child's entry in the
 * answer settles its record. A child that did not come to be leaves the others alone; only if none did is the fork an error.
 */

import type { RunRecord } from '@portico/shared/api'
import { AppError, type WireError } from '@portico/shared/errors'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import type { Caller, CallOutcome, ChildInput, Created, Forked, Forks } from '../ports.ts'
import type { PortSettings } from '../store/ports.ts'
import { assertAllowed } from './allowed.ts'
import { askedAgain } from './asked.ts'
import { captureFence, type Fence } from './fence.ts'
import { type Life, notFound } from './life.ts'
import type { SandboxRecord } from './record.ts'
import { isAsleep, roomOf } from './room.ts'
import type { Piece, Store } from './store.ts'

const action = 'fork the sandbox'

/** Makes a child for each of the ids. */
export async function fork(
  life: Life,
  caller: Caller,
  children: readonly string[],
  { settings, store }: Copied,
  trace?: string,
): Promise<Forks> {
  const record = life.usable(caller)
  assertAllowed(record, 'copy', action)
  const fence = captureFence(record)
  if (fence === undefined) throw notFound()
  const account = life.objects.account(record.account)
  // A parent that sleeps is woken for this, and children are of its size.
  const sandboxes = isAsleep(record) ? [record.id, ...children] : children
  unwrap(await reach(action, account.admit({ ...roomOf(record, action), sandboxes })))
  let made: readonly string[] = []
  try {
    const forks = await forkAdmitted(life, { record, fence, ports: settings().all(), store, trace }, children)
    made = forks.forks.map(({ id }) => id)
    return forks
  } finally {
    const others = children.filter((child) => !made.includes(child))
    life.inBackground('give the room back', account.dismiss(others))
  }
}

/** What children get of their parent's object. */
export interface Copied {
  readonly settings: () => PortSettings
  readonly store: Store
}

interface Parent {
  readonly record: SandboxRecord
  readonly fence: Fence
  readonly ports: ChildInput['ports']
  readonly store: Store
  /** Of the call. */
  readonly trace: string | undefined
}

async function forkAdmitted(life: Life, parent: Parent, children: readonly string[]): Promise<Forks> {
  const { record, fence } = parent
  const roomy = children.slice(0, await reserve(life, record, fence, children))
  const announced = await parent.store.copied((first) =>
    Promise.all(roomy.map((child) => announceOne(life, parent, child, first))),
  )
  const expected = announced.filter((one) => one.ok).map(({ child }) => child)
  const runner = life.objects.runner(fence.runner)
  const answer: CallOutcome<Forked> | undefined =
    expected.length === 0
      ? undefined
      : await askedAgain(action, life.clock, () => runner.fork(record.id, fence.generation, expected, parent.trace))
  const settled = await Promise.all(expected.map((child) => settleOne(life, child, entryOf(answer, child))))
  const failed = [
    ...announced.flatMap((one) => (one.ok ? [] : [one.error])),
    ...settled.flatMap((one) => (one.ok ? [] : [one.error])),
    ...children.slice(roomy.length).map(() => noRoom),
  ]
  const forks = settled.flatMap((one) => (one.ok ? [one.value] : []))
  if (forks.length === 0) throw AppError.fromWire(answer?.ok === false ? answer.error : failed[0])
  life.note('sandbox.forked', { children: forks.map(({ id }) => id) })
  return { forks, failed, pauseMs: answer?.ok === true ? answer.value.pauseMs : 0 }
}

const noRoom: WireError = {
  code: 'capacity',
  message: 'cannot fork the sandbox: its runner has no memory and place free for this child',
}

async function reserve(
  { objects }: Life,
  { region, spec }: SandboxRecord,
  { runner }: Fence,
  sandboxes: readonly string[],
): Promise<number> {
  const input = { region, runner, sandboxes, memMib: spec.mem_mib, vcpus: spec.vcpus }
  return unwrap(await reach(action, objects.region(region).reserve(input)))
}

type Announced = { readonly child: string } & (
  | { readonly ok: true }
  | { readonly ok: false; readonly error: WireError }
)

async function announceOne(
  life: Life,
  { record, fence, ports, store }: Parent,
  child: string,
  first: Piece,
): Promise<Announced> {
  const { account, region, spec, labels, id: parent } = record
  const of = { account, region, spec, labels, runner: fence.runner, sandbox: child, parent, ports }
  try {
    unwrap(await reach(action, life.objects.sandbox(child, region).announce({ ...of, store: first.rows })))
    for (let { next } = first; next !== undefined; ) {
      const piece = store.piece(next)
      unwrap(await reach(action, life.objects.sandbox(child).fill({ account, region }, piece.rows)))
      next = piece.next
    }
    return { child, ok: true }
  } catch (thrown) {
    life.inBackground('give the place back', life.objects.region(region).release(child))
    return { child, ok: false, error: AppError.from(thrown).toWire() }
  }
}

/** One child's part of the answer. */
function entryOf(answer: CallOutcome<Forked> | undefined, child: string): CallOutcome<Created> {
  if (answer === undefined || !answer.ok) return answer ?? { ok: false, error: noRoom, reached: 'not_sent' }
  const { resolvedImage, children } = answer.value
  const entry = children.find(({ sandbox }) => sandbox === child)
  if (entry?.error === null) return { ok: true, value: { resolvedImage, createMs: entry.createMs } }
  const error = entry?.error ?? {
    code: 'protocol_error',
    message: 'cannot fork the sandbox: its runner did not answer',
  }
  return { ok: false, error, reached: error.code === 'protocol_error' ? 'unknown' : 'answered' }
}

type Settled = { readonly ok: true; readonly value: RunRecord } | { readonly ok: false; readonly error: WireError }

/** What its object cannot be told now, its alarm finds out. */
async function settleOne({ objects }: Life, child: string, entry: CallOutcome<Created>): Promise<Settled> {
  try {
    return await reach(action, objects.sandbox(child).settle(entry))
  } catch (thrown) {
    return { ok: false, error: AppError.from(thrown).toWire() }
  }
}
