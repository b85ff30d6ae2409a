/** One call each, as the front door makes it; `turn` says the how-manieth. */

import type { RunRecord } from '@portico/shared/api'
import type { Objects, RunnerReport } from '../../edge/src/ports.ts'
import { hostRoom } from './hosts.ts'

type Operation = (objects: Objects, turn: number) => Promise<unknown>

const account = 'a'.repeat(26)
const region = 'us'
const hosts = 100
const perHost = 1000

/** All of a run's calls, by the name in their path. */
export const operations: Readonly<Record<string, Operation>> = {
  enrol: (objects, turn) =>
    objects.region(region).addRunner(runnerId(turn), region, `host ${turn}`, 'h'.repeat(52), new Date(0).toISOString()),
  report: (objects, turn) => reportOf(objects, turn, perHost),
  'report.short': (objects, turn) => reportOf(objects, turn, 10),
  place: async (objects, turn) => {
    const shape = { memMib: 512, vcpus: 1 }
    const input = { region, sandbox: sandboxId(turn), image: 'python', avoid: [], ...shape }
    return assertOk(await objects.region(region).place(input))
  },
  release: (objects, turn) => objects.region(region).release(sandboxId(turn)),
  open: (objects) =>
    objects.account(account).open({ id: account, name: 'large', created_at: new Date(0).toISOString() }),
  limit: async (objects) => assertOk(await objects.account(account).setLimits({ sandboxes: 2_000_000 })),
  index: (objects, turn) =>
    objects.account(account).index({
      version: 2,
      state: 'running',
      record: recordOf(turn),
      createdAt: turn,
      endedAt: null,
      usage: null,
      runningSince: turn,
      happenings: [],
    }),
  admit: async (objects, turn) => {
    const input = { action: 'create the sandbox', sandboxes: [sandboxId(turn)], vcpus: 1, memMib: 512 }
    return assertOk(await objects.account(account).admit(input))
  },
  dismiss: (objects, turn) => objects.account(account).dismiss([sandboxId(turn)]),
  'list.100': async (objects) => assertOk(await objects.account(account).list({ region, limit: 100 })),
  key: (objects) => objects.account(account).key('no such key'),
}

function reportOf(objects: Objects, turn: number, sandboxes: number): Promise<void> {
  const host = turn % hosts
  return objects.region(region).report(runnerId(host), `tunnel of ${host}`, Date.now(), reportWith(host, sandboxes))
}

function reportWith(host: number, sandboxes: number): RunnerReport {
  return {
    version: '0.1.0',
    accelerator: 'kvm',
    draining: false,
    vcpus: 128,
    total_mem_mib: hostRoom.memMib * 10,
    free_mem_mib: hostRoom.memMib * 9,
    free_vcpus: hostRoom.vcpus,
    free_slots: hostRoom.slots,
    load: 0.5,
    images: ['node', 'python'],
    warm: { node: 2, python: 2 },
    generation: 2,
    sockets: 2,
    sandboxes: Array.from({ length: sandboxes }, (_, index) => sandboxId(10_000_000 + host * perHost + index)),
  }
}

function recordOf(turn: number): RunRecord {
  return {
    id: sandboxId(turn),
    status: 'running',
    labels: { team: 'research', job: String(turn % 1000) },
    image: 'python',
    resolved_image: 'python',
    region,
    vcpus: 1,
    mem_mib: 512,
    disk_gib: 2,
    timeout_secs: 300,
    auto_resume: false,
    on_idle: 'destroy',
    created_at: new Date(turn).toISOString(),
    create_ms: 31,
  } as unknown as RunRecord
}

function runnerId(turn: number): string {
  return `runner${base32Of(turn)}`
}

function sandboxId(turn: number): string {
  return `run${base32Of(turn)}`
}

/** Numbers in the spelling of ids; the last letter of an id is one of eight. */
function base32Of(turn: number): string {
  const letters = 'abcdefghijklmnopqrstuvwxyz234567'
  let text = ''
  for (let rest = turn; text.length < 25; rest = Math.floor(rest / 32)) text = (letters[rest % 32] ?? 'a') + text
  return `${text}a`
}

function assertOk<Value>(outcome: { ok: true; value: Value } | { ok: false; error: { message: string } }): Value {
  if (outcome.ok) return outcome.value
  throw new Error(outcome.error.message)
}
