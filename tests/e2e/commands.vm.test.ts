/** The newcomer's commands as a newcomer runs them, and what they leave on the host: nothing. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root } from '@portico/deploy/checkout'
import { Portico } from '@portico/sdk'
import { describe, expect, it } from 'vitest'
import { census, left } from '../kit/census.ts'

interface Ended {
  code: number | null
  stdout: string
  stderr: string
}

function npm(...args: string[]): ChildProcess {
  return spawn('npm', args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
}

async function ended(child: ChildProcess): Promise<Ended> {
  const result: Ended = { code: null, stdout: '', stderr: '' }
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    result.stdout += text
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    result.stderr += text
  })
  const [code] = (await once(child, 'close')) as [number | null]
  return { ...result, code }
}

/** The first whole line of stdout. */
async function firstLine(child: ChildProcess): Promise<string> {
  let text = ''
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
    text += chunk.toString()
    if (text.includes('\n')) return text
  }
  throw new Error(`it ended without a line: ${text}`)
}

describe('npm run demo', () => {
  it('does the main job, step by step, and leaves nothing behind', async () => {
    const before = await census()
    const { code, stdout, stderr } = await ended(npm('run', 'demo'))
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const steps = stdout.split('\n').map((line) => line.split(/\s/)[0])
    for (const name of ['front', 'runner', 'create', 'exec', 'write', 'read', 'destroy', 'stop', 'done'])
      expect(steps).toContain(name)
    expect(stdout).toContain('"hi\\n", exit 0')
    expect(stdout).toContain('"kept\\n"')
    expect(left(before, await census())).toEqual({})
  })
})

describe('npm run up', () => {
  it('prints one line of JSON, serves, and on Ctrl-C drains and leaves nothing but its state', async () => {
    const before = await census()
    const stateDir = await mkdtemp(join(tmpdir(), 'up-'))
    const up = npm('run', 'up', '--', '--json', '--port', '0', '--state-dir', stateDir)
    const closed = once(up, 'close')
    const line = await firstLine(up)
    const connection = JSON.parse(line) as Record<string, string>
    expect(line.trimEnd()).not.toContain('\n')
    expect(Object.keys(connection).sort()).toEqual([
      'adminKey',
      'apiKey',
      'appDomain',
      'sandboxDomain',
      'stateDir',
      'url',
    ])
    expect(connection.stateDir).toBe(stateDir)
    const portico = new Portico({ baseUrl: connection.url as string, apiKey: connection.apiKey as string })
    const sandbox = await portico.create({ image: 'python' })
    expect((await sandbox.exec('echo up')).stdout).toBe('up\n')
    process.kill(-(up.pid as number), 'SIGINT')
    await closed
    expect(left(before, await census())).toEqual({})
    await rm(stateDir, { recursive: true })
  })

  it('keeps its key over a restart, and takes several runners and a region', async () => {
    const stateDir = await mkdtemp(join(tmpdir(), 'up-'))
    const keys: string[] = []
    for (let turn = 0; turn < 2; turn++) {
      const up = npm(
        'run',
        'up',
        '--',
        '--json',
        '--port',
        '0',
        '--state-dir',
        stateDir,
        '--runners',
        '2',
        '--region',
        'eu',
      )
      const closed = once(up, 'close')
      const { apiKey, url, adminKey } = JSON.parse(await firstLine(up)) as Record<string, string>
      keys.push(apiKey as string)
      const response = await fetch(`${url}/admin/runners`, { headers: { authorization: `Bearer ${adminKey}` } })
      const { runners } = (await response.json()) as { runners: { connected: boolean; region: string }[] }
      expect(runners.filter((runner) => runner.connected && runner.region === 'eu')).toHaveLength(2)
      process.kill(-(up.pid as number), 'SIGINT')
      await closed
    }
    expect(keys[0]).toMatch(/^portico_live_eu_/)
    expect(keys[1]).toBe(keys[0])
    await rm(stateDir, { recursive: true })
  })

  it('says in one line what is wrong with an option', async () => {
    const { code, stderr } = await ended(npm('run', 'up', '--', '--port', 'many'))
    expect(code).not.toBe(0)
    expect(stderr).toBe('portico: cannot use --port: give a number from 0 to 65535\n')
  })
})
