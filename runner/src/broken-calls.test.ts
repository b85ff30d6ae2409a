/** A call whose socket breaks while the runner is at it, and its repetition on the other socket. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { answers } from '@portico/shared/control'
import { call } from '@portico/shared/tunnel'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { daemonConfig, parseConfig } from './config.ts'
import { type Daemon, startDaemon } from './daemon.ts'
import { silentLog } from './log.ts'
import { ScriptedEdge } from './tunnel/scripted-edge.ts'
import type { ExecHandler } from './vm/fake/index.ts'
import { FakeDriver } from './vm/fake/index.ts'
import type { FakeStep } from './vm/fake/vm.ts'

type Op = Exclude<
  keyof typeof answers,
  | 'guest.request'
  | 'guest.image'
  | 'image.list'
  // Its answer has a body, which ends with its socket, and so does a pull that nobody else waits for.
  | 'image.pull'
  | 'image.remove'
  | 'port.request'
  | 'port.socket'
  | 'sandbox.stats'
  | 'sandbox.update'
  | 'snapshot.delete'
  | 'checkpoint.delete'
  | 'checkpoint.list'
  | 'checkpoint.wait'
  // Once more, it puts the same files back once more.
  | 'checkpoint.restore'
>

const signal = new AbortController().signal
const spec = { image: 'python', vcpus: 1, mem_mib: 128, disk_mib: 64, idle_timeout: 0, env: {} }
const a = { sandbox: 'a', generation: 1 }

let folder: string
let edge: ScriptedEdge
let daemon: Daemon
let driver: FakeDriver
let exec: ExecHandler
/** What the machines are held at, and until when. */
let gate: { step: FakeStep; reached: () => void; open: Promise<void> } | undefined

beforeEach(async () => {
  gate = undefined
  exec = async () => ({})
  folder = await mkdtemp(join(tmpdir(), 'portico-broken-'))
  edge = await ScriptedEdge.start()
  driver = new FakeDriver({
    behaviour: () => ({ exec: (asked, aborted) => exec(asked, aborted) }),
    trouble: async (step) => {
      if (gate?.step !== step) return
      gate.reached()
      await gate.open
    },
  })
  const config = {
    edgeUrl: edge.url,
    token: 'secret',
    stateDir: folder,
    assets: '/nowhere',
    memoryMib: 1024,
    poolSize: 0,
  }
  daemon = await startDaemon(parseConfig(daemonConfig, config), { driver, log: silentLog(), random: () => 0 })
  await twoSockets()
})
afterEach(async () => {
  gate = undefined
  await daemon.stop(AbortSignal.abort())
  await edge.close()
  await rm(folder, { recursive: true, force: true })
})

async function twoSockets(): Promise<void> {
  await edge.until(() => edge.links.length === 2)
  await Promise.all(edge.links.map(({ muxer }) => muxer.ready))
}

async function ask<Name extends Op>(op: Name, fields: object, link = edge.links[0]) {
  if (!link) throw new Error('no socket is open')
  return (await call(link.muxer, { op, ...fields }, answers[op], { signal })).answer
}

const before: Record<Op, () => Promise<unknown>> = {
  'sandbox.create': async () => undefined,
  'sandbox.restore': async () => {
    await ask('sandbox.create', { ...a, sandbox: 'first', spec })
    await ask('sandbox.snapshot', { ...a, sandbox: 'first', snapshot: 's' })
  },
  'sandbox.fork': () => ask('sandbox.create', { ...a, spec }),
  'sandbox.snapshot': () => ask('sandbox.create', { ...a, spec }),
  'sandbox.hibernate': () => ask('sandbox.create', { ...a, spec }),
  'sandbox.resume': async () => {
    await ask('sandbox.create', { ...a, spec })
    await ask('sandbox.hibernate', a)
  },
  'sandbox.destroy': () => ask('sandbox.create', { ...a, spec }),
  'checkpoint.create': () => ask('sandbox.create', { ...a, spec }),
}

const checkpoint = { checkpoint: 'cp', name: '', created_at: '2026-01-01T00:00:00.000Z', wait: true }

it.each<[Op, FakeStep | undefined, object, number]>([
  ['sandbox.create', 'restore', { spec }, 1],
  ['sandbox.restore', 'restore', { spec, snapshot: 's' }, 2],
  ['sandbox.fork', 'capture', { children: [{ sandbox: 'b', generation: 1 }] }, 2],
  ['sandbox.snapshot', 'capture', { snapshot: 's' }, 1],
  ['sandbox.hibernate', 'capture', {}, 0],
  ['sandbox.resume', 'restore', {}, 1],
  ['sandbox.destroy', undefined, {}, 0],
  ['checkpoint.create', 'capture-disk', checkpoint, 1],
])('answers a repeated %s as it would have the first, which did the work once', async (op, step, fields, machines) => {
  await before[op]()
  const begun = Promise.withResolvers<void>()
  const opened = Promise.withResolvers<void>()
  if (step) gate = { step, reached: begun.resolve, open: opened.promise }
  else daemon.engine.onChange(() => begun.resolve())
  const [first, second] = edge.links
  const lost = ask(op, { ...a, ...fields }, first)
  const failed = expect(lost).rejects.toMatchObject({ code: 'runner_disconnected' })
  await begun.promise
  first?.socket.terminate()
  await failed
  const repeated = ask(op, { ...a, ...fields }, second)
  opened.resolve()
  const answered = await repeated
  expect(answered).toMatchObject({ ok: true })
  expect(await ask(op, { ...a, ...fields }, second)).toEqual(answered)
  expect(driver.machines.size).toBe(machines)
})

it('runs a command once, whatever happens to the socket that brought it', async () => {
  const started = Promise.withResolvers<void>()
  const ended = Promise.withResolvers<void>()
  let runs = 0
  // A new machine runs commands of the runner's own, so this begins after it was made.
  await ask('sandbox.create', { ...a, spec })
  exec = async (_asked, aborted) => {
    runs++
    aborted.addEventListener('abort', () => ended.resolve())
    started.resolve()
    await ended.promise
    return {}
  }
  const [first, second] = edge.links
  const head = { op: 'guest.request', ...a, method: 'POST', path: '/exec', headers: {} }
  if (!first) throw new Error('no socket is open')
  const asked = call(first.muxer, head, answers['guest.request'], { signal, body: Buffer.from('{"shell":"once"}') })
  const failed = expect(asked).rejects.toMatchObject({ code: 'runner_disconnected' })
  await started.promise
  first.socket.terminate()
  await failed
  await ended.promise
  await twoSockets()
  expect(edge.links).toContain(second)
  await ask('sandbox.hibernate', a, second)
  await ask('sandbox.resume', a, second)
  expect(runs).toBe(1)
})
