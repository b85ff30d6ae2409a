/** Names and labels, usage, history, audit logs, webhooks. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { WireServer } from '@portico/sdk/test-server'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { cli } from './process.ts'

let wire: WireServer
let folder: string

beforeEach(async () => {
  wire = await WireServer.open()
  folder = await mkdtemp(join(tmpdir(), 'cli-account-'))
})

afterEach(async () => {
  await wire.close()
  await rm(folder, { recursive: true, force: true })
})

const run = (...args: string[]) => cli(args, wire.environment)

async function create(...args: string[]): Promise<string> {
  return (await run('create', 'python', ...args)).stdout.trim()
}

const record = (id: string) => wire.sandboxes.get(id)?.record

describe('name and labels', () => {
  it('are given by create and restore', async () => {
    const id = await create('--name', 'build', '--label', 'team=red', '--label', 'a=b')
    expect(record(id)).toMatchObject({ name: 'build', labels: { team: 'red', a: 'b' } })
    const snapshot = (await run('snapshot', id)).stdout.trim()
    const restored = (await run('restore', snapshot, '--name', 'again', '--label', 'c=d')).stdout.trim()
    expect(record(restored)).toMatchObject({ name: 'again', labels: { c: 'd' } })
  })

  it('are changed by set, which leaves the rest', async () => {
    const id = await create('--name', 'build', '--label', 'team=red')
    expect(await run('set', id, '--label', 'team=blue', '--idle', '1m')).toEqual({
      code: 0,
      stdout: `${id}\n`,
      stderr: '',
    })
    expect(record(id)).toMatchObject({ name: 'build', labels: { team: 'blue' }, timeout: 60 })
    const { stdout } = await run('set', id, '--no-name', '--no-label', '--json')
    expect(JSON.parse(stdout)).toMatchObject({ id, labels: {}, timeoutSec: 60 })
    expect(record(id)?.name).toBeUndefined()
    expect(await run('set', id)).toMatchObject({ code: 125, stderr: expect.stringMatching(/nothing is given\nhint: /) })
  })

  it('are what a list is filtered by', async () => {
    const red = await create('--name', 'one', '--label', 'team=red')
    const blue = await create('--label', 'team=blue')
    await run('hibernate', blue)
    expect((await run('list', '-q', '--label', 'team=red')).stdout).toBe(`${red}\n`)
    expect((await run('list', '-q', '--state', 'hibernated,error')).stdout).toBe(`${blue}\n`)
    expect((await run('list', '-q', '--name', 'one')).stdout).toBe(`${red}\n`)
    expect((await run('list', '--name', 'one')).stdout).toMatch(/^ID +NAME +STATUS .*\n\w+ +one +running /)
  })
})

describe('portico usage and history', () => {
  it('say what was used, for people and for programs', async () => {
    await create()
    await run('stop', await create('--name', 'gone'))
    const { code, stdout, stderr } = await run('usage')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toBe(
      [
        '        SANDBOXES  COST',
        'active  1          $0.015',
        'over    1          $0.000016',
        'total   2          $0.015',
        'CPU 2.5s, memory 0.03 GiB-hours\n',
      ].join('\n'),
    )
    expect(JSON.parse((await run('usage', '--json')).stdout)).toMatchObject({ activeSandboxes: 1, memGibSeconds: 90 })
  })

  it('list what is over, newest first and no more than asked for', async () => {
    const ended: string[] = []
    for (let count = 0; count < 3; count++) {
      const id = await create('--name', `n${count}`)
      await run('stop', id)
      ended.unshift(id)
    }
    wire.account.pageSize = 2
    expect((await run('history', '-q')).stdout).toBe(`${ended.join('\n')}\n`)
    const { stdout } = await run('history', '--limit', '1')
    expect(stdout).toMatch(/^ID +NAME +STATUS .*ENDED\n\w+ +n2 +destroyed +python .* \$0\.000016 +\d+s ago\n$/)
    expect(JSON.parse((await run('history', '--limit', '2', '--json')).stdout)).toMatchObject([
      { id: ended[0], costCents: 0.0016 },
      { id: ended[1] },
    ])
  })
})

describe('portico audit', () => {
  it('prints what was done, for people', async () => {
    const id = await create()
    await run('stop', id)
    const { code, stdout } = await run('audit', id)
    expect(code).toBe(0)
    const [first, second] = stdout.split('\n')
    expect(first).toMatch(/^0 {2}\d{4}-\d\d-\d\dT[\d:.]+Z {2}sandbox\.created {2}\{"image":"python","vcpus":1\}$/)
    expect(second).toMatch(/^1 .* sandbox\.destroyed {2}\{\}$/)
  })

  it('prints lines that verify takes, from a file with a key file and from a pipe', async () => {
    const id = await create()
    await run('stop', id)
    const { stdout: log } = await run('audit', id, '--json')
    const last = wire.account.audits.get(id)?.at(-1)?.hmac
    const whole = { code: 0, stdout: `ok: 2 entries, the last ${last}\n`, stderr: '' }
    expect(await cli(['audit', 'verify', '-'], wire.environment, log)).toEqual(whole)
    const [file, keyFile] = [join(folder, 'log'), join(folder, 'key')]
    await writeFile(file, log)
    await writeFile(keyFile, (await run('audit', 'key')).stdout)
    const asked = wire.requests.length
    expect(await cli(['audit', 'verify', file, '--key-file', keyFile], {})).toEqual(whole)
    expect(wire.requests.length).toBe(asked)
  })

  it('ends with 1 and the line that is wrong', async () => {
    const id = await create()
    await run('stop', id)
    const { stdout: log } = await run('audit', id, '--json')
    const [first = '', second = ''] = log.trim().split('\n')
    const changed = await cli(
      ['audit', 'verify', '-'],
      wire.environment,
      `${first}\n${second.replace('{}', '{"a":1}')}\n`,
    )
    expect(changed).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/^portico: line 2 of - is wrong: /),
    })
    const dropped = await cli(['audit', 'verify', '-', '--json'], wire.environment, `${second}\n`)
    expect(dropped.code).toBe(1)
    expect(JSON.parse(dropped.stdout)).toMatchObject({ ok: false, line: 1 })
  })

  it('verify says what it cannot read and ends with 125', async () => {
    const missing = await run('audit', 'verify', join(folder, 'none'))
    expect(missing).toMatchObject({
      code: 125,
      stdout: '',
      stderr: expect.stringMatching(/cannot read .*none: no such file\n$/),
    })
    const keyless = await run('audit', 'verify', '-', '--key-file', join(folder, 'none'))
    expect(keyless).toMatchObject({ code: 125, stderr: expect.stringMatching(/no such file/) })
    await writeFile(join(folder, 'key'), 'no key')
    const wrongKey = await cli(['audit', 'verify', '-', '--key-file', join(folder, 'key')], {}, '')
    expect(wrongKey).toMatchObject({ code: 125, stderr: expect.stringMatching(/the key is none\nhint: /) })
  })

  it('says that a sandbox does not exist', async () => {
    expect(await run('audit', 'runaaaa')).toMatchObject({
      code: 125,
      stderr: expect.stringMatching(/cannot find sandbox/),
    })
  })
})

describe('portico webhooks', () => {
  it('adds, lists and removes', async () => {
    const added = await run('webhooks', 'add', 'https://hook.example/a', '--event', 'sandbox.created')
    expect(added).toEqual({ code: 0, stdout: 'hook1 the-secret\n', stderr: '' })
    expect((await run('webhooks')).stdout).toMatch(/^ID .*AGE\nhook1 +https:\/\/hook\.example\/a +sandbox\.created /)
    expect((await run('webhooks', 'list', '-q')).stdout).toBe('hook1\n')
    expect((await run('webhooks', 'remove', 'hook1')).stdout).toBe('hook1\n')
    expect(await run('webhooks', 'remove', 'hook1')).toMatchObject({ code: 125, stdout: '' })
    const all = JSON.parse((await run('webhooks', 'add', 'https://hook.example/b', '--json')).stdout)
    expect(all).toMatchObject({
      url: 'https://hook.example/b',
      events: expect.arrayContaining(['sandbox.lost']),
      secret: 'the-secret',
    })
  })

  it('refuses an event that does not exist', async () => {
    const ended = await run('webhooks', 'add', 'https://hook.example/a', '--event', 'sandbox.painted')
    expect(ended).toMatchObject({ code: 125, stdout: '', stderr: expect.stringMatching(/events/) })
  })

  it('tells how deliveries went', async () => {
    await run('webhooks', 'add', 'https://hook.example/a')
    const about = { event: 'sandbox.created', sandbox_id: 'runaaaa', created_at: new Date().toISOString() }
    const end = { last_error: null, next_attempt_at: null }
    wire.account.deliveries = [{ id: 'd1', ...about, ...end, state: 'delivered', attempts: 1, last_status: 204 }]
    expect((await run('webhooks', 'deliveries', 'hook1')).stdout).toMatch(
      /^ID .*AGE\nd1 +sandbox\.created +runaaaa +delivered +1 +204 +\d+s\n$/,
    )
    expect(JSON.parse((await run('webhooks', 'deliveries', 'hook1', '--json')).stdout)).toMatchObject([{ id: 'd1' }])
  })
})

describe('a limit of the account', () => {
  it('is told in the platform’s words, with what to do', async () => {
    wire.fail('POST /v1/runs', 'quota_exceeded', 1, 5)
    expect(await run('create', 'python')).toMatchObject({
      code: 125,
      stderr: expect.stringMatching(/^portico: cannot do it: quota_exceeded\nhint: Destroy what is no longer needed/),
    })
  })
})
