/**
 * The unmodified npm package `iii-sdk` and the command `portico-iii`, on the local platform: each code block of iii's page as printed with only the address
 * changed, and each code of its table brought about.
 */

import { randomUUID } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type ExecOutput, type IiiCalls, iiiPart, iiiVersion, refusalOf } from './iii-client.ts'
import { codesOf, IiiWorld, iiiCommand } from './iii-world.ts'

type Helpers = typeof import('./clients/node_modules/iii-sdk/dist/helpers.mjs')
type Channels = typeof import('./clients/node_modules/iii-sdk/dist/channel.mjs')

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const limit = { timeout: 20_000, interval: 100 }
const python = (code: string) => ({ cmd: 'python3', args: ['-c', code] })

let world: IiiWorld
let calls: IiiCalls

beforeAll(async () => {
  world = await IiiWorld.open()
  calls = world.calls
}, 600_000)

afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
})

describe('the page, block by block', () => {
  it('is run by the package of the registry, at the version that is pinned', async () => {
    expect(await iiiVersion()).toBe('0.22.1')
  })

  it('boots, runs one command and stops', async () => {
    const { values, printed } = await world.run(1)
    expect(values.sandbox_id).toMatch(uuid)
    expect(printed).toEqual([['hi\n']])
    expect(values.out).toEqual({
      stdout: 'hi\n',
      stderr: '',
      exit_code: 0,
      timed_out: false,
      duration_ms: expect.any(Number),
      success: true,
    })
  })

  it('creates once, execs as often as it likes, stops', async () => {
    const { values } = await world.run(3)
    expect(values).toMatchObject({ a: { stdout: '4\n' }, b: { stdout: expect.stringMatching(/^3\.\d+/) } })
  })

  it('creates with processors, memory and variables of its own, and runs commands', async () => {
    const { values } = await world.run(5)
    const { sandbox_id } = values as { sandbox_id: string }
    const machine = await calls.exec(
      sandbox_id,
      python('import os; print(os.cpu_count(), os.sysconf("SC_PHYS_PAGES") * 4096 >> 20)'),
    )
    const [processors, memory] = machine.stdout.split(' ').map(Number)
    expect(processors).toBe(2)
    expect(memory).toBeGreaterThan(384)
    expect(memory).toBeLessThan(512)
    expect((await world.run(6, { sandbox_id })).printed).toEqual([['en_US.UTF-8']])
  })

  it('runs one shot in three calls, and lists what there is', async () => {
    const kept = await calls.create({ image: 'python', name: 'kept' })
    expect((await world.run(7)).values.out).toMatchObject({ stdout: '1024\n' })
    await expect.poll(() => calls.list().then((all) => all.length), limit).toBe(1)
    expect((await world.run(8)).values.sandboxes).toEqual([
      expect.objectContaining({
        sandbox_id: kept,
        name: 'kept',
        image: 'python',
        age_secs: expect.any(Number),
        exec_in_progress: false,
        stopped: false,
      }),
    ])
    await calls.stop(kept)
  })

  it('has two layers of variables', async () => {
    process.env.DATABASE_URL = 'postgres://db/name'
    const { values, answers } = await world.run(9)
    const [, inherited, layered] = answers as [unknown, ExecOutput, ExecOutput]
    expect([inherited.stdout, layered.stdout]).toEqual(['en_US.UTF-8\n', 'req-42\n'])
    const { sandbox_id } = values as { sandbox_id: string }
    const printenv = (env: string[]) =>
      calls.exec(sandbox_id, { cmd: 'sh', args: ['-c', 'echo "$DATABASE_URL $LANG $REQUEST_ID"'], env })
    expect((await printenv(['LANG=C', 'DATABASE_URL='])).stdout).toBe(' C \n')
    expect((await printenv([])).stdout).toBe('postgres://db/name en_US.UTF-8 \n')
    await calls.stop(sandbox_id)
    delete process.env.DATABASE_URL
  })

  it('boots a custom image like a preset', async () => {
    const { values, answers } = await world.run(11)
    expect(answers).toEqual([{ sandbox_id: values.sandbox_id, image: 'my-app' }])
    const { sandbox_id } = values as { sandbox_id: string }
    expect((await calls.exec(sandbox_id, { cmd: 'sh', args: ['-c', 'echo $APP; pwd'] })).stdout).toBe('mine\n/srv\n')
    await calls.stop(sandbox_id)
  })

  it('catches a timeout by its code', async () => {
    expect((await world.run(13)).printed).toEqual([['timed out; raise timeout_ms or split the work']])
    await calls.stopAll()
  })

  it('mocks the trigger', async () => {
    const { mockIii } = (await world.run(21, { vi })).values as { mockIii: typeof calls.iii }
    const trigger = (function_id: string) => mockIii.trigger({ function_id, payload: {} })
    expect(await trigger('sandbox::create')).toEqual({ sandbox_id: 'test-sb-uuid' })
    expect(await trigger('sandbox::exec')).toMatchObject({ stdout: 'hi\n' })
    await expect(trigger('sandbox::list')).rejects.toThrow('unexpected function_id: sandbox::list')
  })

  it('loads both policies as they are printed', async () => {
    const checked = await Promise.all([4, 10].map((index) => world.checkPolicy(index)))
    for (const { code, stderr } of checked) expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  })

  it('runs the lines of the terminal, silent but for what they are asked', async () => {
    expect(await world.shell(0)).toEqual({ code: 0, stdout: 'hi\n', stderr: '' })
    expect(await world.shell(15)).toEqual({ code: 0, stdout: '1024\n', stderr: '' })
    const { code, stdout, stderr } = await world.shell(2)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^4\n3\.\d+[^\n]*\n/)
    expect(world.sameShell(17, 2)).toBe(true)
    await expect.poll(() => calls.list(), limit).toEqual([])
  })

  it('has each command with each of its options', async () => {
    for (const index of [14, 16, 18, 19, 20]) {
      const printed = world.synopsis(index)
      const [command = ''] = /(?<=^iii sandbox )\w+/.exec(printed) ?? []
      const help = await world.command(`iii sandbox ${command} --help`)
      expect(help.code).toBe(0)
      const options = printed.match(/(?<=\[)--?[a-z-]+/g) ?? []
      expect(options.filter((option) => !help.stdout.includes(option))).toEqual([])
    }
  })

  it('says on a terminal when a sandbox is ready, streams, exits as the command does, and with 124 at a timeout', async () => {
    const create = `${iiiCommand} sandbox create python --name label -e A=1 -e B=2 -e nothing --idle-timeout 60`
    const lines = [
      `SAID=$(script -qec "${create}" /dev/null </dev/null)`,
      'SB=$(grep -oE "[0-9a-f-]{36}" <<<"$SAID")',
      'grep -oE "✓ sandbox ready in [0-9.]+s" <<<"$SAID"',
      'iii sandbox list --all | grep "$SB" | grep -oE label',
      'iii sandbox exec "$SB" -e B=3 -- sh -c \'echo "$A$B"; echo careful >&2; exit 7\' || echo "exit $?"',
      'iii sandbox exec "$SB" --timeout 500ms -- sleep 60 || echo "exit $?"',
    ]
    const { code, stdout, stderr } = await world.command(lines.join('\n'))
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^✓ sandbox ready in [\d.]+s\nlabel\n13\nexit 7\nexit 124\n$/),
    })
    expect(stderr).toMatch(/^careful\n/)
    await calls.stopAll()
  })
})

describe('a client', () => {
  it('connects with its key in a header as well, and has its own sandboxes alone', async () => {
    const { platform } = world.test
    const own = world.connect('local', { headers: { authorization: `Bearer ${platform.apiKey}` } })
    const id = await own.create({ image: 'python' })
    expect((await calls.list()).map(({ sandbox_id }) => sandbox_id)).toEqual([id])
    const account = await platform.admin.createAccount('another')
    const key = await platform.admin.createKey(account, 'local', 'test')
    const stranger = world.connect('local', { headers: { authorization: `Bearer ${key}` } })
    expect(await stranger.list()).toEqual([])
    expect((await refusalOf(stranger.exec(id, { cmd: 'true' }))).code).toBe('S002')
    expect((await refusalOf(stranger.stop(id))).code).toBe('S002')
    await own.stop(id)
  })

  it('gives input, a directory, and the three shapes of a command', async () => {
    const id = await calls.create({ image: 'python' })
    const stdin = Buffer.from('in\0put').toString('base64')
    expect((await calls.exec(id, { cmd: 'cat', stdin })).stdout).toBe('in\0put')
    expect((await calls.exec(id, { cmd: 'pwd', workdir: '/usr/lib' })).stdout).toBe('/usr/lib\n')
    expect((await calls.exec(id, { cmd: "printf '%s|' 'a b' c" })).stdout).toBe('a b|c|')
    expect((await calls.exec(id, { argv: ['echo', 'one two'] })).stdout).toBe('one two\n')
    expect(await calls.exec(id, { cmd: 'sh', args: ['-c', 'echo no >&2; exit 3'] })).toMatchObject({
      stderr: 'no\n',
      exit_code: 3,
      success: false,
    })
    expect(await calls.exec(id, { cmd: 'no-such-program' })).toMatchObject({
      exit_code: 127,
      stderr: 'exec: no-such-program: not found\n',
    })
    await calls.stop(id)
  })

  it('has files, and a channel for what is large', async () => {
    const { createChannel } = await iiiPart<Helpers>('helpers')
    const { ChannelReader } = await iiiPart<Channels>('channel')
    const id = await calls.create({ image: 'python' })
    const content = 'portico\n'.repeat(40_000)
    const channel = await createChannel(calls.iii)
    const written = calls.trigger('sandbox::fs::write', {
      sandbox_id: id,
      path: '/app/large',
      parents: true,
      content: channel.readerRef,
    })
    channel.writer.stream.end(content)
    expect(await written).toMatchObject({ bytes_written: content.length, path: '/app/large' })
    const { content: reference, size } = await calls.trigger<{
      content: ConstructorParameters<typeof ChannelReader>[1]
      size: number
    }>('sandbox::fs::read', { sandbox_id: id, path: '/app/large' })
    expect(size).toBe(content.length)
    const reader = new ChannelReader(world.address, reference)
    expect((await reader.readAll()).toString()).toBe(content)
    await calls.stop(id)
  })

  it('is told of functions that there are not, and of fields that are missing', async () => {
    await expect(calls.trigger('sandbox::explode', {})).rejects.toMatchObject({ code: 'function_not_found' })
    await expect(calls.trigger('sandbox::create', {})).rejects.toThrow('serialization error: missing field `image`')
  })

  it('has many calls under way at once', async () => {
    const all = await Promise.all(Array.from({ length: 50 }, () => calls.list()))
    expect(all).toHaveLength(50)
  })

  it('gets what it asked for before its connection was cut', async () => {
    const cut = await world.connectThroughRelay()
    const id = await cut.calls.create({ image: 'python' })
    const running = cut.calls.exec(id, { cmd: 'sh', args: ['-c', 'touch /tmp/begun; sleep 1; echo done'] })
    await expect.poll(async () => (await calls.list())[0]?.exec_in_progress, limit).toBe(true)
    cut.relay.cut()
    expect(await running).toMatchObject({ stdout: 'done\n', exit_code: 0 })
    await cut.calls.stop(id)
  })

  it('loses what stood idle since its last command', async () => {
    const id = await calls.create({ image: 'python', idle_timeout_secs: 2 })
    await wait(1200)
    await calls.exec(id, { cmd: 'true' })
    await wait(1200)
    expect((await calls.list()).map(({ sandbox_id }) => sandbox_id)).toEqual([id])
    await expect.poll(() => calls.list(), limit).toEqual([])
  })
})

describe('the codes', () => {
  /** What the page says of a code besides its name. */
  const row = (code: string) => ({ code, ...codes.get(code) })
  let codes: Awaited<ReturnType<typeof codesOf>>
  let id: string

  beforeAll(async () => {
    codes = await codesOf()
    id = await calls.create({ image: 'python' })
  })

  afterAll(async () => {
    await calls?.stopAll()
  })

  it('are ten', () => {
    expect([...codes.keys()]).toEqual(['S001', 'S002', 'S003', 'S004', 'S100', 'S101', 'S102', 'S200', 'S300', 'S400'])
  })

  it('S001: a malformed request', async () => {
    expect(await refusalOf(calls.exec('no-uuid', { cmd: 'true' }))).toMatchObject(row('S001'))
    expect(await refusalOf(calls.exec(id, { cmd: 'cat', stdin: '***' }))).toMatchObject(row('S001'))
    expect(await refusalOf(calls.create({ image: 'python', env: ['1A=x'] }))).toMatchObject(row('S001'))
    expect(await refusalOf(calls.create({ image: 'python', network: true }))).toMatchObject(row('S001'))
    const { code, stdout, stderr } = await world.command('iii sandbox create python --network')
    expect({ stdout, refused: code !== 0 && stderr.includes('network') }).toEqual({ stdout: '', refused: true })
  })

  it('S002: no such sandbox', async () => {
    const [printed = ''] = world.errors(12)
    const unknown = randomUUID()
    const refusal = await refusalOf(calls.exec(unknown, { cmd: 'true' }))
    expect(refusal).toMatchObject(row('S002'))
    expect(`handler error: ${printedPart(refusal)}`).toBe(printed.replace('<id>', unknown))
  })

  it('S003: one command at a time', async () => {
    const first = calls.exec(id, { cmd: 'sleep', args: ['1'] })
    await expect.poll(async () => (await calls.list())[0]?.exec_in_progress, limit).toBe(true)
    expect(await refusalOf(calls.exec(id, { cmd: 'true' }))).toMatchObject(row('S003'))
    expect(await first).toMatchObject({ success: true })
    expect(await calls.exec(id, { cmd: 'true' })).toMatchObject({ success: true })
  })

  it('S004: a sandbox that was stopped', async () => {
    const stopped = await calls.create({ image: 'python' })
    expect(await calls.stop(stopped)).toEqual({ sandbox_id: stopped, stopped: true })
    expect(await refusalOf(calls.exec(stopped, { cmd: 'true' }))).toMatchObject(row('S004'))
    expect(await refusalOf(calls.stop(stopped))).toMatchObject(row('S002'))
  })

  it('S100: an image that is not on the allowlist, whatever it is', async () => {
    for (const image of ['node', 'unlisted', 'ruby', 'docker.io/library/alpine:3.20'])
      expect(await refusalOf(calls.create({ image }))).toMatchObject(row('S100'))
  })

  it('S101: nothing is pulled where it may not be', async () => {
    expect(await refusalOf(world.connect('offline').create({ image: 'my-app' }))).toMatchObject(row('S101'))
  })

  it('S102: an image that cannot be had', async () => {
    expect(await refusalOf(calls.create({ image: 'not-there' }))).toMatchObject(row('S102'))
    const foreign = await refusalOf(calls.create({ image: 'foreign' }))
    expect(foreign).toMatchObject(row('S102'))
    expect(foreign.message).toContain('linux/amd64')
  })

  it('S200: a command that took too long, and the next one goes', async () => {
    const [, printed] = world.errors(12)
    const refusal = await refusalOf(calls.exec(id, { ...python('while True: pass'), timeout_ms: 500 }))
    expect(refusal).toMatchObject(row('S200'))
    expect(`handler error: ${printedPart(refusal)}`).toBe(printed)
    expect(await calls.exec(id, { cmd: 'true' })).toMatchObject({ success: true })
  })

  it('S300: a machine that does not boot', async () => {
    expect(await refusalOf(world.connect('broken').create({ image: 'python' }))).toMatchObject(row('S300'))
  })

  it('S400: more than a cap allows, of processors, memory, or sandboxes at once', async () => {
    const processors = await refusalOf(calls.create({ image: 'python', cpus: 3 }))
    expect(processors).toMatchObject({
      ...row('S400'),
      message: expect.stringContaining('cpus=3 exceeds per-image cap 2'),
    })
    expect(await refusalOf(calls.create({ image: 'python', memory_mb: 2048 }))).toMatchObject(row('S400'))
    const room = world.maxSandboxes - (await calls.list()).length
    await Promise.all(Array.from({ length: room }, () => calls.create({ image: 'python' })))
    expect(await refusalOf(calls.create({ image: 'python' }))).toMatchObject(row('S400'))
  })
})

it('leaves no block of the page out', () => {
  expect(world.left()).toEqual([])
})

/** Of an envelope, what the page prints of one, as it prints it. */
function printedPart({ type, code, message }: { type: string; code: string; message: string }): string {
  return JSON.stringify({ type, code, message })
}
