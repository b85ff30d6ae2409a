import { type Duplex, duplexPair } from 'node:stream'
import { FakeClock } from '@portico/shared/clock'
import { expect, it } from 'vitest'
import { Qmp, type QmpEvent, QmpRefusal } from './qmp.ts'

const greeting = { QMP: { version: { qemu: { major: 10 } }, capabilities: [] } }

/** QEMU's end of the socket, told what to say. */
class ScriptedQemu {
  readonly ours: Duplex
  readonly commands: { execute: string; id: number; arguments?: unknown }[] = []
  readonly #socket: Duplex
  #text = ''
  #onCommand: ((command: { execute: string; id: number }) => void) | undefined

  constructor(answers: Record<string, (id: number) => object | undefined> = {}) {
    const [ours, theirs] = duplexPair()
    this.ours = ours
    this.#socket = theirs
    theirs.on('error', () => undefined)
    theirs.on('data', (bytes: Buffer) => {
      this.#text += String(bytes)
      const lines = this.#text.split('\n')
      this.#text = lines.pop() ?? ''
      for (const line of lines) {
        const command = JSON.parse(line) as { execute: string; id: number }
        this.commands.push(command)
        const answer = answers[command.execute] ?? ((id: number) => ({ return: {}, id }))
        const reply = answer(command.id)
        if (reply) this.say(reply)
        this.#onCommand?.(command)
      }
    })
  }

  say(message: object): void {
    this.raw(`${JSON.stringify(message)}\r\n`)
  }

  raw(text: string): void {
    this.#socket.write(text)
  }

  hangUp(): void {
    this.#socket.end()
  }

  /** Resolves with the next command of this name. */
  next(execute: string): Promise<{ id: number }> {
    return new Promise((resolve) => {
      this.#onCommand = (command) => command.execute === execute && resolve(command)
    })
  }
}

async function openOn(qemu: ScriptedQemu, options = {}): Promise<Qmp> {
  const opening = Qmp.open(qemu.ours, options)
  qemu.say(greeting)
  return await opening
}

it('greets, negotiates and runs commands', async () => {
  const qemu = new ScriptedQemu({ 'query-status': (id) => ({ return: { status: 'running' }, id }) })
  const qmp = await openOn(qemu)
  expect(await qmp.execute('query-status')).toEqual({ status: 'running' })
  expect(qemu.commands.map(({ execute }) => execute)).toEqual(['qmp_capabilities', 'query-status'])
})

it('matches answers to commands by id, in whatever order they come', async () => {
  const qemu = new ScriptedQemu({ first: () => undefined, second: () => undefined })
  const qmp = await openOn(qemu)
  const second = qemu.next('second')
  const answers = Promise.all([qmp.execute('first'), qmp.execute('second')])
  const { id } = await second
  qemu.say({ return: 'two', id })
  qemu.say({ return: 'one', id: id - 1 })
  expect(await answers).toEqual(['one', 'two'])
})

it('hands events on, before, between and after answers', async () => {
  const seen: QmpEvent[] = []
  const qemu = new ScriptedQemu()
  const qmp = await openOn(qemu, { onEvent: (event: QmpEvent) => seen.push(event) })
  qemu.say({ event: 'RESUME', timestamp: {} })
  await qmp.execute('cont')
  qemu.say({ event: 'SHUTDOWN', data: { guest: true, reason: 'guest-reset' } })
  await qmp.execute('query-status')
  expect(seen).toEqual([
    { name: 'RESUME', data: {} },
    { name: 'SHUTDOWN', data: { guest: true, reason: 'guest-reset' } },
  ])
})

it('tells a refusal with its kind, and goes on', async () => {
  const refused = { class: 'CommandNotFound', desc: 'no such thing' }
  const qemu = new ScriptedQemu({ nonsense: (id) => ({ error: refused, id }) })
  const qmp = await openOn(qemu)
  const error = await qmp.execute('nonsense').catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(QmpRefusal)
  expect(error).toMatchObject({ kind: 'CommandNotFound', cause: 'no such thing' })
  expect(String((error as Error).message)).not.toContain('no such thing')
  await qmp.execute('cont')
})

it('gives up on a command after its limit and skips the late answer', async () => {
  const clock = new FakeClock()
  const qemu = new ScriptedQemu({ slow: () => undefined })
  const qmp = await openOn(qemu, { clock, limitMs: 1000 })
  const arrived = qemu.next('slow')
  const slow = qmp.execute('slow')
  const { id } = await arrived
  await clock.advance(1000)
  await expect(slow).rejects.toMatchObject({ code: 'deadline' })
  qemu.say({ return: {}, id })
  await qmp.execute('cont')
  expect(clock.pending).toBe(0)
})

it('gives up on a peer that does not greet', async () => {
  const clock = new FakeClock()
  const opening = Qmp.open(new ScriptedQemu().ours, { clock, limitMs: 1000 })
  await clock.advance(1000)
  await expect(opening).rejects.toMatchObject({ code: 'deadline' })
})

it.each([
  ['not JSON', 'hello\r\n'],
  ['no object', '[]\r\n'],
  ['no greeting', '{"return":{},"id":1}\r\n'],
])('refuses a peer whose first line is %s', async (_what, line) => {
  const qemu = new ScriptedQemu()
  const opening = Qmp.open(qemu.ours)
  qemu.raw(line)
  await expect(opening).rejects.toMatchObject({ code: 'internal', message: expect.stringContaining('cannot control') })
})

it.each([
  ['garbage', 'xx\r\n'],
  ['an answer that nobody waits for', '{"return":{},"id":99}\r\n'],
  ['an answer without an id', '{"return":{}}\r\n'],
])('fails what is under way when the peer sends %s', async (_what, line) => {
  const qemu = new ScriptedQemu({ slow: () => undefined })
  const qmp = await openOn(qemu)
  const slow = qmp.execute('slow')
  qemu.raw(line)
  await expect(slow).rejects.toMatchObject({ code: 'internal' })
  expect(await qmp.closed).toMatchObject({ code: 'internal' })
  await expect(qmp.execute('cont')).rejects.toMatchObject({ code: 'internal' })
})

it('fails what is under way when the socket ends', async () => {
  const qemu = new ScriptedQemu({ slow: () => undefined })
  const qmp = await openOn(qemu)
  const slow = qmp.execute('slow')
  qemu.hangUp()
  await expect(slow).rejects.toMatchObject({ message: expect.stringContaining('its control socket closed') })
})

it('may be closed twice and then refuses commands', async () => {
  const qmp = await openOn(new ScriptedQemu())
  qmp.close()
  qmp.close()
  expect(await qmp.closed).toBeUndefined()
  await expect(qmp.execute('cont')).rejects.toMatchObject({ message: expect.stringContaining('it is closed') })
})
