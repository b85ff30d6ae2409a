/** Everything around one sandbox's life, in memory: a region with one place after another, runners that a test answers for, a fake clock. */

import { FakeClock } from '@portico/shared/clock'
import type { AppError, WireError } from '@portico/shared/errors'
import { newAccountId, newSandboxId } from '@portico/shared/ids'
import type { Usage } from '@portico/shared/usage'
import type {
  AccountPort,
  AuditNote,
  CallOutcome,
  Created,
  CreateInput,
  IndexEntry,
  Objects,
  Reached,
  RegionPort,
  RunnerPort,
} from '../src/ports.ts'
import { Life } from '../src/sandbox/life.ts'
import type { SandboxRecord } from '../src/sandbox/record.ts'

export const usage: Usage = {
  cpu_ms: 5,
  mem_peak_bytes: 6,
  mem_current_bytes: 4,
  disk_used_bytes: 3,
  uptime_ms: 1000,
}

export const made: CallOutcome<Created> = { ok: true, value: { resolvedImage: 'preset', createMs: 3 } }
export const ended: CallOutcome<Usage> = { ok: true, value: usage }

export function failing(code: WireError['code'], reached: Reached) {
  return { ok: false, error: { code, message: `cannot: ${code}` }, reached } as const
}

export class World {
  readonly clock = new FakeClock(1_000_000)
  readonly input: CreateInput = {
    sandbox: newSandboxId(),
    account: newAccountId(),
    region: 'local',
    spec: {
      image: 'python',
      vcpus: 1,
      mem_mib: 512,
      disk_mib: 100,
      idle_timeout: 60,
      env: { SECRET: 'x' },
      auto_resume: false,
      on_idle: 'destroy',
    },
  }
  readonly caller = { account: this.input.account, region: this.input.region }
  /** What happened outside, in order. */
  readonly events: string[] = []
  readonly index: IndexEntry[] = []
  readonly background: Promise<unknown>[] = []
  /** The audit log, as far as it was ever written. */
  readonly notes: AuditNote[] = []
  stored: SandboxRecord | undefined
  alarm: number | undefined
  /** The runners that the region gives, one after another; then it has no capacity. */
  places = ['runner-1', 'runner-2', 'runner-3']
  accountFails: Error | undefined
  /** How the account's index takes an entry. */
  tell: (entry: IndexEntry) => void = (entry) => void this.index.push(entry)
  create: (runner: string, generation: number) => Promise<CallOutcome<Created>> = async () => made
  destroy: (runner: string, generation: number) => Promise<CallOutcome<Usage>> = async () => ended
  update: () => Promise<CallOutcome<null>> = async () => ({ ok: true, value: null })
  hibernate: () => Promise<CallOutcome<Usage>> = async () => ended
  resume: () => Promise<CallOutcome<null>> = async () => ({ ok: true, value: null })
  #awake: object = {}
  life = this.wakeUp()

  /** The object as it is after its memory was lost. What the former one still does reaches nothing. */
  wakeUp(): Life {
    const awake = {}
    this.#awake = awake
    this.life = new Life({
      store: {
        get: () => this.stored,
        put: (record) => {
          if (this.#awake === awake) this.stored = structuredClone(record)
        },
        setAlarm: (at) => {
          if (this.#awake === awake) this.alarm = at
        },
        clear: async () => {
          this.stored = undefined
          this.alarm = undefined
        },
      },
      objects: this.#objects(),
      clock: this.clock,
      note: (notes) => {
        if (this.#awake === awake) this.notes.push(...notes)
      },
      background: (work) => this.background.push(work),
    })
    return this.life
  }

  /** Waits for what nobody waits for. */
  async settle(): Promise<void> {
    await this.clock.advance(0)
    while (this.background.length > 0) await this.background.shift()
  }

  get state(): string | undefined {
    return this.stored?.state
  }

  #objects(): Objects {
    const account: Partial<AccountPort> = {
      index: async (entry) => {
        if (this.accountFails !== undefined) throw this.accountFails
        this.tell(entry)
      },
      admit: async () => ({ ok: true, value: undefined }),
      dismiss: async () => undefined,
    }
    const region: Partial<RegionPort> = {
      place: async ({ avoid }) => {
        const runner = this.places.find((one) => !avoid.includes(one))
        this.events.push(`place ${runner ?? 'nothing'}`)
        if (runner === undefined) return { ok: false, error: { code: 'capacity', message: 'cannot: full' } }
        return { ok: true, value: runner }
      },
      release: async () => void this.events.push('release'),
    }
    const runner = (id: string): Partial<RunnerPort> => ({
      create: async (_sandbox, generation) => {
        this.events.push(`create ${id} ${generation}`)
        return this.create(id, generation)
      },
      destroy: async (_sandbox, generation) => {
        this.events.push(`destroy ${id} ${generation}`)
        return this.destroy(id, generation)
      },
      update: async () => this.update(),
      hibernate: async (_sandbox, generation) => {
        this.events.push(`hibernate ${id} ${generation}`)
        return this.hibernate()
      },
      resume: async (_sandbox, generation) => {
        this.events.push(`resume ${id} ${generation}`)
        return this.resume()
      },
    })
    return {
      account: () => account,
      region: () => region,
      runner,
      sandbox: () => ({}),
      directory: () => ({}),
    } as unknown as Objects
  }
}

/** The code that a promise rejects with, or `done`. */
export async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'done',
    (error: AppError) => error.code,
  )
}
