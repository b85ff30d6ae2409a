import { FakeClock } from '@portico/shared/clock'
import type { RunnerStatus } from '@portico/shared/control'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type Logger, silentLog } from '../log.ts'
import { ScriptedEdge } from './scripted-edge.ts'
import { StatusReporter } from './status.ts'
import { Tunnel } from './tunnel.ts'

const message: RunnerStatus = {
  op: 'runner.status',
  session: 's',
  version: '1.0.0',
  accelerator: 'tcg',
  draining: false,
  vcpus: 2,
  total_mem_mib: 1024,
  load: 0,
  warm: {},
  free_mem_mib: 1024,
  free_slots: 4,
  images: [],
  sandboxes: [],
}

let edge: ScriptedEdge
let tunnel: Tunnel
let clock: FakeClock
let reporter: StatusReporter
let reported: Promise<void>
let sandboxes: RunnerStatus['sandboxes']
let warnings: object[]
let over: AbortController

async function start(generation: number): Promise<void> {
  over = new AbortController()
  clock = new FakeClock()
  edge = await ScriptedEdge.start({ generation })
  let serial = 0
  sandboxes = []
  warnings = []
  const log = { ...silentLog(), warn: (facts: object) => void warnings.push(facts) } as Logger
  reporter = new StatusReporter(() => ({ ...message, load: serial++, sandboxes }), clock, log)
  tunnel = new Tunnel({
    url: edge.url,
    token: 'token',
    session: 'abcdefghijklmnopqrstuvwxyz',
    sockets: 1,
    clock,
    log: silentLog(),
    onStream: (stream) => stream.reset({ code: 'unsupported', message: 'cannot take it' }),
    onOpen: () => undefined,
  })
  reported = reporter.report(tunnel, over.signal)
  await edge.called('runner.status')
  await answered()
}

beforeEach(() => start(2))
afterEach(() => stop())

async function stop(): Promise<void> {
  over.abort()
  await reported
  await tunnel.stop(0)
  await edge.close()
}

/** The answer to what was told has arrived: it comes in real time. */
async function answered(): Promise<void> {
  await expect.poll(() => edge.links[0]?.muxer.openStreams).toBe(0)
  for (let turn = 0; turn < 20; turn++) await new Promise((done) => setImmediate(done))
}

it('tells many small changes together, a second later', async () => {
  for (let change = 0; change < 5; change++) reporter.changedSoon()
  await clock.advance(999)
  await answered()
  expect(edge.calls).toHaveLength(1)
  await clock.advance(1)
  await edge.called('runner.status', 2)
  await answered()
  await clock.advance(5000)
  await answered()
  expect(edge.calls).toHaveLength(2)
})

const many = (count: number): RunnerStatus['sandboxes'] =>
  Array.from({ length: count }, (_, index) => ({
    sandbox: `run${String(index).padStart(26, 'a')}`,
    generation: 1,
    state: 'hibernated',
  }))

it('tells of 5,000 sandboxes as of one', async () => {
  sandboxes = many(5000)
  reporter.changed()
  const [, second] = await edge.called('runner.status', 2)
  expect(second?.sandboxes).toEqual(sandboxes)
  expect(second).not.toHaveProperty('body')
})

it('does not tell an edge of generation 1 a part of them, and says why; fewer are told again', async () => {
  await stop()
  await start(1)
  sandboxes = many(5000)
  reporter.changed()
  await expect.poll(() => warnings).toMatchObject([{ error: { code: 'payload_too_large' } }])
  expect(edge.calls).toHaveLength(1)
  sandboxes = many(2)
  await expect
    .poll(async () => {
      await clock.advance(1000)
      return edge.calls.length
    })
    .toBe(2)
})
