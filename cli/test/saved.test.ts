/** Fork, snapshot, restore, hibernate, resume, and what sandboxes take: `list --wide`. */

import { sendJson, WireServer } from '@portico/sdk/test-server'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { cli, direct, Running } from './process.ts'

let wire: WireServer

beforeEach(async () => {
  wire = await WireServer.open()
})

afterEach(async () => {
  await wire.close()
})

const run = (...args: string[]) => cli(args, wire.environment)

async function create(...args: string[]): Promise<string> {
  return (await run('create', 'python', ...args)).stdout.trim()
}

function lastBody(): unknown {
  return JSON.parse(wire.requests.at(-1)?.body.toString() ?? '')
}

const status = (id: string) => wire.sandboxes.get(id)?.record.status

describe('portico create', () => {
  it('says what happens to an idle sandbox and what wakes it', async () => {
    await create('--on-idle', 'hibernate', '--auto-resume', '--idle', '1m')
    expect(lastBody()).toEqual({ image: 'python', timeout: 60, on_idle: 'hibernate', auto_resume: true })
  })

  it('refuses another word for what happens', async () => {
    const ended = await run('create', 'python', '--on-idle', 'sleep')
    expect(ended).toMatchObject({ code: 125, stdout: '' })
    expect(ended.stderr).toMatch(/Allowed choices are destroy, hibernate/)
    expect(wire.requests).toEqual([])
  })
})

describe('portico fork', () => {
  it('prints the ids of the children and nothing else', async () => {
    const id = await create()
    const one = await run('fork', id)
    expect(one).toEqual({ code: 0, stdout: expect.stringMatching(/^run[a-z2-7]{26}\n$/), stderr: '' })
    const three = await run('fork', id, '--count', '3')
    expect(three).toEqual({ code: 0, stdout: expect.stringMatching(/^(run[a-z2-7]{26}\n){3}$/), stderr: '' })
    for (const child of `${one.stdout}${three.stdout}`.trim().split('\n'))
      expect(wire.sandboxes.get(child)?.record.forked_from).toBe(id)
  })

  it('prints their records with --json', async () => {
    const id = await create()
    const { stdout } = await run('fork', id, '--json')
    expect(JSON.parse(stdout)).toMatchObject({
      children: [{ forkedFrom: id, image: 'python' }],
      failed: [],
      pauseMs: 14,
    })
  })

  it('prints the children that came to be, tells of the others and ends with 125', async () => {
    const id = await create()
    const answer = {
      forks: [wire.sandboxes.get(id)?.record],
      failed: [{ error: 'cannot fork: no room', code: 'capacity' }],
      pause_ms: 3,
    }
    wire.intercept(`POST /v1/runs/${id}/fork`, (_seen, response) => sendJson(response, 201, answer), 2)
    const ended = await run('fork', id, '--count', '2')
    expect(ended).toMatchObject({ code: 125, stdout: `${id}\n` })
    expect(ended.stderr).toMatch(/^portico: cannot fork: no room\nhint: Destroy a sandbox or try again later\.\n$/)
    const { stdout } = await run('fork', id, '--count', '2', '--json')
    expect(JSON.parse(stdout)).toMatchObject({
      children: [{ id }],
      failed: [{ code: 'capacity', message: 'cannot fork: no room' }],
    })
  })

  it('when interrupted leaves no children whose ids nobody knows', async () => {
    const id = await create()
    const route = `POST /v1/runs/${id}/fork`
    const arrived = wire.arrival(route)
    const interrupted = Promise.withResolvers<void>()
    wire.intercept(route, async (seen, response) => {
      await interrupted.promise
      await wire.answer(seen, response)
    })
    const running = new Running([...direct, 'fork', id, '--count', '2'], wire.environment)
    await arrived
    running.kill('SIGTERM')
    const destroyed = wire.arrival('DELETE /v1/runs/*')
    interrupted.resolve()
    await Promise.race([destroyed, running.ended()])
    const { code, stdout } = await running.ended()
    // Whichever came first at the program, signal or answer: it has told the ids, or the children are gone.
    const told = code === 0 ? stdout.trim().split('\n') : []
    expect([...wire.sandboxes.keys()]).toEqual([id, ...told])
  })
})

describe('portico snapshot and restore', () => {
  it('print ids alone, one that outlives the sandbox and one of a new sandbox', async () => {
    const id = await create()
    const taken = await run('snapshot', id)
    expect(taken).toEqual({ code: 0, stdout: expect.stringMatching(/^snap[a-z2-7]{26}\n$/), stderr: '' })
    await run('stop', id)
    const restored = await run('restore', taken.stdout.trim())
    expect(restored).toEqual({ code: 0, stdout: expect.stringMatching(/^run[a-z2-7]{26}\n$/), stderr: '' })
    expect([...wire.sandboxes.keys()]).toEqual([restored.stdout.trim()])
  })

  it('print records with --json', async () => {
    const id = await create()
    const snapshot = JSON.parse((await run('snapshot', id, '--json')).stdout) as { id: string }
    expect(snapshot).toMatchObject({ sandboxId: id, sizeBytes: 2_500_000 })
    expect(JSON.parse((await run('restore', snapshot.id, '--json')).stdout)).toMatchObject({
      restoredFrom: snapshot.id,
    })
  })

  it('restore changes what it is told to, and leaves the rest to the snapshot', async () => {
    const snapshot_id = (await run('snapshot', await create())).stdout.trim()
    await run('restore', snapshot_id)
    expect(lastBody()).toEqual({ snapshot_id })
    await run('restore', snapshot_id, '--idle', '0', '-e', 'A=b', '--on-idle', 'hibernate', '--auto-resume')
    const changes = { timeout: 0, env: { A: 'b' }, on_idle: 'hibernate', auto_resume: true }
    expect(lastBody()).toEqual({ snapshot_id, ...changes })
    await run('restore', snapshot_id, '--no-auto-resume')
    expect(lastBody()).toEqual({ snapshot_id, auto_resume: false })
  })

  it('restore says that a snapshot does not exist', async () => {
    expect(await run('restore', 'snapaaaa')).toEqual({
      code: 125,
      stdout: '',
      stderr: 'portico: cannot find snapshot snapaaaa\nhint: `portico snapshots` shows those that exist.\n',
    })
  })
})

describe('portico snapshots', () => {
  it('prints an aligned table, newest first', async () => {
    const id = await create()
    const taken = [(await run('snapshot', id)).stdout.trim(), (await run('snapshot', id)).stdout.trim()]
    const { code, stdout, stderr } = await run('snapshots')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const [heading, ...rows] = stdout.trimEnd().split('\n')
    expect(heading).toBe(`${'ID'.padEnd(32)}${'SANDBOX'.padEnd(31)}SIZE     AGE`)
    expect(rows).toHaveLength(2)
    for (const [index, row] of rows.entries())
      expect(row).toMatch(new RegExp(`^${taken[1 - index]}  ${id}  2\\.4 MiB  \\d+s$`))
    expect((await run('snapshots', 'list')).stdout.split('\n')[0]).toBe(heading)
  })

  it('prints ids alone with -q, and everything with --json', async () => {
    const id = await create()
    const snapshot = (await run('snapshot', id)).stdout.trim()
    expect((await run('snapshots', '-q')).stdout).toBe(`${snapshot}\n`)
    expect(JSON.parse((await run('snapshots', '--json')).stdout)).toMatchObject([{ id: snapshot, sandboxId: id }])
  })

  it('rm deletes those that it is given, and tells of one that does not exist', async () => {
    const id = await create()
    const snapshot = (await run('snapshot', id)).stdout.trim()
    const ended = await run('snapshots', 'rm', 'snapaaaa', snapshot)
    expect(ended).toMatchObject({ code: 125, stdout: `${snapshot}\n` })
    expect(ended.stderr).toMatch(/^portico: cannot find snapshot snapaaaa\nhint: .*\n$/)
    expect(wire.snapshots.size).toBe(0)
  })

  it('finds the platform that the command line names, before and after its words', async () => {
    const given = ['--url', wire.url, '--key', wire.apiKey]
    expect(await cli(['snapshots', 'list', '-q', ...given], {})).toEqual({ code: 0, stdout: '', stderr: '' })
    expect(await cli([...given, 'snapshots', '-q'], {})).toEqual({ code: 0, stdout: '', stderr: '' })
  })
})

describe('portico hibernate and resume', () => {
  it('print the ids of those that they moved', async () => {
    const ids = [await create(), await create()]
    expect(await run('hibernate', ...ids)).toEqual({ code: 0, stdout: `${ids.join('\n')}\n`, stderr: '' })
    expect(ids.map(status)).toEqual(['hibernated', 'hibernated'])
    expect(await run('resume', ...ids)).toEqual({ code: 0, stdout: `${ids.join('\n')}\n`, stderr: '' })
    expect(ids.map(status)).toEqual(['running', 'running'])
  })

  it('print records with --json', async () => {
    const id = await create()
    expect(JSON.parse((await run('hibernate', id, '--json')).stdout)).toMatchObject([{ id, status: 'hibernated' }])
    expect(JSON.parse((await run('resume', id, '--json')).stdout)).toMatchObject([{ id, status: 'running' }])
  })

  it('exec says how to wake a hibernated sandbox', async () => {
    const id = await create()
    await run('hibernate', id)
    expect(await run('exec', id, '--', 'echo', 'hi')).toEqual({
      code: 125,
      stdout: '',
      stderr:
        'portico: cannot use the sandbox: it is hibernated\nhint: Wake it with `portico resume`, or create sandboxes with --auto-resume.\n',
    })
    const waking = await create('--auto-resume')
    await run('hibernate', waking)
    expect((await run('exec', waking, '--', 'echo', 'hi')).stdout).toBe('hi\n')
  })

  it('tell of one that does not exist, and move the others', async () => {
    const id = await create()
    expect(await run('hibernate', 'runaaaa', id)).toMatchObject({ code: 125, stdout: `${id}\n` })
    expect(status(id)).toBe('hibernated')
  })
})

describe('portico list --wide', () => {
  const usageRoute = (id: string) => `GET /v1/runs/${id}/usage`

  it('adds memory, CPU time and uptime of those that run, and asks for no other', async () => {
    const asleep = await create()
    await run('hibernate', asleep)
    const awake = await create()
    const { code, stdout, stderr } = await run('list', '--wide')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const [heading, first, second] = stdout.split('\n')
    expect(heading).toMatch(/ {2}AGE +PSS +CPU +UPTIME$/)
    expect(first).toMatch(new RegExp(`^${awake}  -     running .* 38 MiB  40ms  1\\.5s$`))
    expect(second).toMatch(new RegExp(`^${asleep}  -     hibernated .* -       -     -$`))
    expect([wire.count(usageRoute(awake)), wire.count(usageRoute(asleep))]).toEqual([1, 0])
  })

  it('has the usage in --json, null where there is none', async () => {
    const asleep = await create()
    await run('hibernate', asleep)
    const awake = await create()
    expect(JSON.parse((await run('list', '-w', '--json')).stdout)).toMatchObject([
      { id: awake, image: 'python', usage: { memCurrentBytes: 40_000_000, cpuMs: 40, uptimeMs: 1500 } },
      { id: asleep, status: 'hibernated', usage: null },
    ])
  })

  it('does not mind one that has ended or fallen asleep meanwhile', async () => {
    const [gone, asleep] = [await create(), await create()]
    wire.fail(usageRoute(gone), 'sandbox_not_found')
    wire.fail(usageRoute(asleep), 'sandbox_hibernated')
    const { code, stdout, stderr } = await run('list', '--wide')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout.match(/ - +- +-$/gm)).toHaveLength(2)
  })

  it('tells once of a failure that many have, shows the others, and ends with 125', async () => {
    const ids = [await create(), await create(), await create()]
    for (const id of ids.slice(0, 2)) wire.fail(usageRoute(id), 'sandbox_failed')
    const { code, stdout, stderr } = await run('list', '--wide')
    expect(code).toBe(125)
    expect(stderr).toMatch(/^portico: cannot do it: sandbox_failed\nhint: .*\n$/)
    expect(stdout).toMatch(new RegExp(`^${ids[2]} .*38 MiB`, 'm'))
  })

  it('asks for eight at a time', async () => {
    const child = (await run('fork', await create(), '--count', '19')).stdout.trim().split('\n')[0]
    expect(child).toMatch(/^run/)
    let [now, most] = [0, 0]
    const eight = Promise.withResolvers<void>()
    for (const id of wire.sandboxes.keys()) {
      wire.intercept(usageRoute(id), async (seen, response) => {
        most = Math.max(most, ++now)
        if (now === 8) eight.resolve()
        await eight.promise
        now--
        await wire.answer(seen, response)
      })
    }
    const { stdout } = await run('list', '--wide')
    expect(stdout.match(/38 MiB/g)).toHaveLength(20)
    expect(most).toBe(8)
  })
})
