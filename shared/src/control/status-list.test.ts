import { describe, expect, test } from 'vitest'
import type { AppError } from '../errors.ts'
import { defaultWindow, maxHead, type TunnelStream } from '../tunnel/index.ts'
import { type RunnerStatus, runnerStatus } from './from-runner.ts'
import { maxStatusBody, readStatus, statusCall } from './status-list.ts'

const figures = {
  op: 'runner.status',
  session: 's',
  sequence: 3,
  version: '1',
  accelerator: 'kvm',
  draining: false,
  vcpus: 2,
  total_mem_mib: 0,
  load: 0,
  warm: {},
  free_mem_mib: 1000,
  free_slots: 3,
  images: ['python'],
} as const

function statusOf(count: number): RunnerStatus {
  const sandboxes = Array.from({ length: count }, (_, index) => ({
    sandbox: `run${String(index).padStart(26, 'a')}`,
    generation: 1,
    state: 'hibernated' as const,
  }))
  return { ...figures, images: [...figures.images], sandboxes }
}

/** A stream that sends these bytes in pieces, and notes what was read of it and why it was reset. */
function sending(body: Uint8Array, piece = defaultWindow) {
  const seen = { read: 0, resets: [] as string[] }
  const stream = {
    read: async () => {
      const bytes = body.subarray(seen.read, seen.read + piece)
      seen.read += bytes.length
      return bytes.length > 0 ? bytes : undefined
    },
    reset: ({ code }: { code: string }) => seen.resets.push(code),
  } as unknown as TunnelStream
  return { stream, seen }
}

const heard = (head: object, body: Uint8Array = new Uint8Array(0)) =>
  readStatus(runnerStatus.parse(JSON.parse(JSON.stringify(head))), sending(body).stream)
const text = (value: string) => new TextEncoder().encode(value)
const codeOf = (work: () => unknown) => {
  try {
    return work()
  } catch (error) {
    return (error as AppError).code
  }
}

describe('a status', () => {
  test.each([1, 2])('whose list fits is a head alone, of generation %d as well', async (generation) => {
    const status = statusOf(700)
    const { head, body } = statusCall(status, generation)
    expect([head, body]).toEqual([status, undefined])
    expect(await heard(head)).toEqual(status)
  })

  test('of 5,000 sandboxes has its list in the body, and arrives whole', async () => {
    const status = statusOf(5000)
    const { head, body } = statusCall(status, 2)
    expect(JSON.stringify(head).length).toBeLessThan(1000)
    expect(head).not.toHaveProperty('sandboxes')
    expect(await heard(head, body)).toEqual(status)
  })

  test('goes into the body with the first byte that the head has no room for', () => {
    const status = statusOf(700)
    const room = maxHead - JSON.stringify({ ...status, version: '' }).length
    expect(statusCall({ ...status, version: 'v'.repeat(room) }, 2).body).toBeUndefined()
    expect(statusCall({ ...status, version: 'v'.repeat(room + 1) }, 2).body).toBeInstanceOf(Uint8Array)
  })

  test('that is too long for an edge of generation 1, or for any, is not told in part', () => {
    expect(codeOf(() => statusCall(statusOf(5000), 1))).toBe('payload_too_large')
    expect(codeOf(() => statusCall(statusOf(60_000), 2))).toBe('payload_too_large')
  })

  test('is refused without a list, and with a body that is none', async () => {
    await expect(heard(figures)).rejects.toMatchObject({ code: 'protocol_error' })
    const head = { ...figures, body: 'sandboxes' }
    for (const body of ['', '{}', '[1]', '[', '[{"sandbox":"runa","generation":1,"state":"gone"}]'])
      await expect(heard(head, text(body))).rejects.toMatchObject({ code: 'protocol_error' })
    await expect(heard(head, new Uint8Array([0x22, 0xff, 0x22]))).rejects.toMatchObject({ code: 'protocol_error' })
  })

  test('is not read beyond the limit of its body', async () => {
    const head = runnerStatus.parse({ ...figures, body: 'sandboxes' })
    const full = sending(text(`[]${' '.repeat(maxStatusBody - 2)}`))
    expect((await readStatus(head, full.stream)).sandboxes).toEqual([])
    const { stream, seen } = sending(new Uint8Array(2 * maxStatusBody))
    await expect(readStatus(head, stream)).rejects.toMatchObject({ code: 'payload_too_large' })
    expect(seen.resets).toEqual(['payload_too_large'])
    expect(seen.read).toBeLessThanOrEqual(maxStatusBody + defaultWindow)
  })
})
