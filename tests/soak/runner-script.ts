/**
 * A runner for tests that is killed in the middle: an engine in a process of its own, which does what its parent asks and ends itself, as a crash does, at
 * the step that its parent named. Argument: state folder.
 */

import { paths } from '@portico/deploy/checkout'
import { type Child, openEngine } from '@portico/runner/engine'
import { AppError } from '@portico/shared/errors'
import { engineGuest } from './engine-guest.ts'
import type { short } from './size.ts'

/** What a parent asks. Everything is of generation 1. */
export interface Calls {
  dieAt(step: string): Promise<void>
  create(id: string, spec: typeof short.spec): Promise<void>
  /** State of each sandbox, by id. */
  states(): Promise<Record<string, string>>
  hibernate(id: string): Promise<void>
  resume(id: string): Promise<void>
  snapshot(id: string, snapshot: string): Promise<void>
  restore(id: string, snapshot: string, spec: typeof short.spec): Promise<void>
  deleteSnapshot(snapshot: string): Promise<void>
  fork(id: string, children: readonly Child[]): Promise<void>
  destroy(id: string): Promise<void>
  run(id: string, shell: string): Promise<string>
  put(id: string, path: string, base64: string): Promise<void>
  close(): Promise<void>
}

export interface Asked {
  readonly number: number
  readonly call: keyof Calls
  readonly args: readonly unknown[]
}

export interface Answered {
  readonly number: number
  readonly value?: unknown
  readonly error?: { readonly code: string; readonly message: string }
}

let deadly: string | undefined

const engine = await openEngine(
  {
    stateDir: process.argv[2],
    assets: paths.assets,
    logLevel: process.env.PORTICO_LOG_LEVEL ?? 'silent',
    poolSize: 0,
  },
  {
    onStep(step) {
      if (step === deadly) process.kill(process.pid, 'SIGKILL')
    },
  },
)

const calls: Calls = {
  async dieAt(step) {
    deadly = step
  },
  create: async (id, spec) => void (await engine.create(id, 1, spec)),
  states: async () => Object.fromEntries(engine.status().sandboxes.map(({ sandbox, state }) => [sandbox, state])),
  hibernate: async (id) => void (await engine.hibernate(id, 1)),
  resume: async (id) => void (await engine.resume(id, 1)),
  snapshot: async (id, snapshot) => void (await engine.snapshot(id, 1, snapshot)),
  restore: async (id, snapshot, spec) => void (await engine.restore(id, 1, snapshot, spec)),
  deleteSnapshot: (snapshot) => engine.deleteSnapshot(snapshot),
  fork: async (id, children) => void (await engine.fork(id, 1, children)),
  destroy: async (id) => void (await engine.destroy(id, 1)),
  run: (id, shell) => engineGuest(engine, id).run(shell),
  put: (id, path, base64) => engineGuest(engine, id).put(path, Buffer.from(base64, 'base64')),
  async close() {
    await engine.close()
    setImmediate(() => process.disconnect())
  },
}

process.on('message', (asked: Asked) => {
  const run = calls[asked.call] as (...args: readonly unknown[]) => Promise<unknown>
  run(...asked.args).then(
    (value) => process.send?.({ number: asked.number, value }),
    (error: unknown) => {
      const { code, message } = AppError.from(error)
      process.send?.({ number: asked.number, error: { code, message } })
    },
  )
})
process.send?.({ number: 0 })
