/** What a person at a terminal sees, and what the wrapper of an older Node does. `script` of util-linux makes the terminal. */

import { access, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { WireServer } from '@portico/sdk/test-server'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { direct, portico, Running } from './process.ts'

let wire: WireServer
let folder: string

beforeEach(async () => {
  wire = await WireServer.open()
  folder = await mkdtemp(join(tmpdir(), 'cli-terminal-'))
})

afterEach(async () => {
  await wire.close()
  await rm(folder, { recursive: true, force: true })
})

const wrapped = [process.execPath, portico]

/** Runs a command at a terminal; what is in `tail`, such as `>file`, is the shell's. */
function atTerminal(command: readonly string[], tail = ''): Running {
  const line = `exec ${command.map((word) => `'${word}'`).join(' ')} ${tail}`
  return new Running(['script', '-qec', line, '/dev/null'], { ...wire.environment, SHELL: '/bin/sh' })
}

describe('at a terminal', () => {
  it('create shows what it does, and still prints the id alone where it is piped', async () => {
    const file = join(folder, 'id')
    const { code, stdout } = await atTerminal([...direct, 'create', 'python'], `>${file}`).ended()
    expect(code).toBe(0)
    expect(stdout).toMatch(/⠋ creating a sandbox of python/)
    expect(stdout).toContain('\r\u001b[K✓ sandbox ready in ')
    expect(stdout).toMatch(/ready in (\d+ms|[\d.]+s)\r\n$/)
    expect(await readFile(file, 'utf8')).toBe(`${[...wire.sandboxes.keys()][0]}\n`)
  })

  it('fork says how many came to be and how long the parent stood still, and prints their ids where it is piped', async () => {
    const created = new Running([...direct, 'create', 'python'], wire.environment)
    const id = (await created.ended()).stdout.trim()
    const file = join(folder, 'ids')
    const { code, stdout } = await atTerminal([...direct, 'fork', id, '--count', '2'], `>${file}`).ended()
    expect(code).toBe(0)
    expect(stdout).toContain(`⠋ forking ${id}`)
    expect(stdout).toMatch(/✓ 2 children in (\d+ms|[\d.]+s); the parent stood still for 14ms\r\n$/)
    expect(await readFile(file, 'utf8')).toBe(`${[...wire.sandboxes.keys()].slice(1).join('\n')}\n`)
  })

  it('a drain shows how far it is', async () => {
    const { id } = wire.admin.addRunner({ sandboxes: 2 })
    const file = join(folder, 'drained')
    const { code, stdout } = await atTerminal([...direct, 'runners', 'drain', id], `>${file}`).ended()
    expect(code).toBe(0)
    expect(stdout).toContain(`⠋ draining ${id}: 2 still run, 0 hibernated`)
    expect(stdout).toContain(`draining ${id}: 1 still run, 1 hibernated`)
    expect(stdout).toMatch(/✓ drained in [\d.]+m?s; 2 hibernated\r\n$/)
    expect(await readFile(file, 'utf8')).toBe(`${id}\n`)
  })

  it('an error takes the moving line away', async () => {
    const { code, stdout } = await atTerminal([...direct, 'create', 'no-such']).ended()
    expect(code).toBe(125)
    expect(stdout).toContain('\r\u001b[Kportico: cannot create a sandbox: no image no-such\r\nhint: ')
    expect(stdout).toMatch(/hint: .*\r\n$/)
  })

  it.each([
    ['itself', direct],
    ['its wrapper', wrapped],
  ])(
    'Ctrl-C, which reaches %s and all of its group, ends the command and destroys the sandbox',
    async (_what, command) => {
      const arrived = wire.arrival('GET /v1/runs/*/output')
      const running = atTerminal([...command, 'run', 'python', '--', 'hang'])
      await arrived
      running.child.stdin.write('\u0003')
      expect((await running.ended()).code).toBe(130)
      expect(wire.processes.only.signals).toEqual(['SIGINT'])
      expect(wire.count('DELETE /v1/runs/*')).toBe(1)
      expect(wire.sandboxes.size).toBe(0)
    },
  )

  it('Ctrl-C while a sandbox boots says that it cleans up, and destroys it as soon as it is there', async () => {
    const release = Promise.withResolvers<void>()
    const arrived = wire.arrival('POST /v1/runs')
    wire.intercept('POST /v1/runs', async (seen, response) => {
      await release.promise
      await wire.answer(seen, response)
    })
    const running = atTerminal([...direct, 'run', 'python', '--', 'echo', 'never'])
    await arrived
    running.child.stdin.write('\u0003')
    await running.printed('cleaning up')
    expect(wire.sandboxes.size).toBe(0)
    release.resolve()
    const { code, stdout } = await running.ended()
    expect(code).toBe(130)
    expect(stdout).not.toContain('never')
    expect(wire.count('POST /v1/runs/*')).toBe(0)
    expect(wire.count('DELETE /v1/runs/*')).toBe(1)
    expect(wire.sandboxes.size).toBe(0)
  })
})

describe('the wrapper', () => {
  it('passes arguments, input, output and exit code through', async () => {
    const running = new Running([...wrapped, 'run', 'python', '-i', '--', 'cat'], wire.environment)
    running.child.stdin.end('in')
    expect(await running.ended()).toEqual({ code: 0, stdout: 'in', stderr: '' })
    const failing = new Running([...wrapped, 'run', 'python', '--', 'exit', '7'], wire.environment)
    expect(await failing.ended()).toEqual({ code: 7, stdout: '', stderr: '' })
  })

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('passes %s on', async (signal, code) => {
    const arrived = wire.arrival('GET /v1/runs/*/output')
    const running = new Running([...wrapped, 'run', 'python', '--', 'hang'], wire.environment)
    await arrived
    running.kill(signal)
    expect(await running.ended()).toEqual({ code, stdout: '', stderr: '' })
    expect(wire.sandboxes.size).toBe(0)
  })

  it('finds the Node of the checkout where its own is too old, from any folder', async () => {
    const older = await nodesOnPath()
    for (const node of older) {
      const running = new Running(
        ['env', '-C', folder, node, portico, 'run', 'python', '--', 'echo', 'hi'],
        wire.environment,
      )
      expect({ node, ...(await running.ended()) }).toEqual({ node, code: 0, stdout: 'hi\n', stderr: '' })
    }
    expect(older.length).toBeGreaterThan(0)
  })
})

/** Every `node` on the path: on a machine of its own that is the system's, which may be older. */
async function nodesOnPath(): Promise<string[]> {
  const files = [process.execPath, ...(process.env.PATH ?? '').split(delimiter).map((dir) => join(dir, 'node'))]
  const there = await Promise.all(
    [...new Set(files)].map((file) =>
      access(file).then(
        () => [file],
        () => [],
      ),
    ),
  )
  return there.flat()
}
