/** What the README tells a newcomer to type, typed: its programs, and the command line. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { paths, root } from '@portico/deploy/checkout'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestPlatform, testPlatform } from '../kit/platform.ts'

const readme = await readFile(join(root, 'README.md'), 'utf8')

describe('a newcomer', () => {
  let platform: TestPlatform

  beforeAll(async () => {
    platform = await testPlatform()
  })

  afterAll(async () => {
    await platform?.[Symbol.asyncDispose]()
  })

  async function type(command: string, ...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    const { url, apiKey, adminKey } = platform.platform
    const child = spawn(command, args, {
      cwd: root,
      env: {
        ...process.env,
        PORTICO_URL: url,
        PORTICO_API_KEY: apiKey,
        PORTICO_ADMIN_KEY: adminKey,
        // Else each `npx` asks a registry for a newer npm, and waits for its answer.
        npm_config_update_notifier: 'false',
      },
      // A shell whose standard input is a socket takes itself for a remote one.
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
    return { code: code as number, stdout, stderr }
  }

  const portico = (...args: string[]) => type(join(root, 'node_modules', '.bin', 'portico'), ...args)

  /** The programs of the README, each with what it prints. */
  const programs = [...readme.matchAll(/```js\n([\s\S]*?)```/g)].map((match) => match[1] ?? '')
  const printed = ['0 42\n\n', 'prepared\nprepared\nprepared\n']

  it('finds in the README the programs that are run here', () => {
    expect(programs).toHaveLength(printed.length)
  })

  it.each(printed.map((stdout, index) => [index, stdout] as const))(
    'runs program %d of the README as it is written',
    async (index, stdout) => {
      const file = join(paths.temporary, `program-${index}-${process.pid}.mjs`)
      await writeFile(file, programs[index] ?? '')
      try {
        expect(await type('node', file)).toEqual({ code: 0, stdout, stderr: '' })
      } finally {
        await rm(file)
      }
      expect(await platform.portico.list()).toEqual([])
      expect(await platform.portico.snapshots()).toEqual([])
    },
  )

  it('types the lines of the tour through fork, snapshot and sleep', async () => {
    const [, tour = ''] = /^## Fork, snapshot, sleep\n([\s\S]*?)^## /m.exec(readme) ?? []
    const lines = [...tour.matchAll(/^ {4}(.*)$/gm)].map((match) => match[1])
    expect(lines).toHaveLength(12)
    const { code, stdout, stderr } = await type('bash', '-euc', lines.join('\n'))
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const id = 'run[a-z2-7]{26}'
    const table = `ID .*UPTIME\n${id} .*\n`
    expect(stdout).toMatch(
      new RegExp(`^${id}\n${id}\n${id}\nprepared\n${id}\nprepared\n${table}${id}\nsnap[a-z2-7]{26}\n$`),
    )
    expect(await platform.portico.list()).toEqual([])
    expect(await platform.portico.snapshots()).toEqual([])
  })

  it('types the lines of the section on what is live', async () => {
    const [, live = ''] = /^## Live[^\n]*\n([\s\S]*?)^## /m.exec(readme) ?? []
    const lines = [...live.matchAll(/^ {4}(.*)$/gm)].map((match) => match[1])
    expect(lines).toHaveLength(7)
    const { code, stdout, stderr } = await type('bash', '-euc', lines.join('\n'))
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^1\n2\n3\n\/tmp\n200\nproc\w+\nrun[a-z2-7]{26}\n$/)
  })

  it('types the lines of the section for a team', async () => {
    const [, team = ''] = /^## For a team[^\n]*\n([\s\S]*?)^## /m.exec(readme) ?? []
    const lines = [...team.matchAll(/^ {4}(.*)$/gm)].map((match) => match[1])
    expect(lines).toHaveLength(15)
    const { code, stdout, stderr } = await type('bash', '-euc', lines.join('\n'))
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const id = 'run[a-z2-7]{26}'
    expect(stdout).toMatch(/^LIMIT +VALUE\nsandboxes +10\n[\s\S]*requests +100\/s\n/)
    expect(stdout).toMatch(new RegExp(`\nID .*\n${id} +build +running .*\n${id}\nID .*ENDED\n${id} +build +destroyed `))
    expect(stdout).toMatch(/\nok: [1-9]\d* entries, the last sha256:[0-9a-f]{64}\n/)
    expect(stdout).toMatch(/\nsandboxes +0 +10\n/)
    expect(stdout).toMatch(/\n(runner[a-z2-7]{26})\n\1\nFIELD +VALUE\n[\s\S]*draining +false\n/)
  })

  it('runs one command with `portico run`, whose output and exit code are the guest’s', async () => {
    const ran = await portico('run', 'python', '--', 'python3', '-c', 'import sys; print("hi"); sys.exit(7)')
    expect(ran).toEqual({ code: 7, stdout: 'hi\n', stderr: '' })
    expect(await platform.portico.list()).toEqual([])
  })

  it('creates, uses, lists and stops a sandbox, with only the id on stdout', async () => {
    const created = await portico('create', 'node')
    const id = created.stdout.trim()
    expect(created).toEqual({ code: 0, stdout: `${id}\n`, stderr: '' })
    const version = await portico('exec', id, '--', 'node', '-e', 'console.log(process.version)')
    expect(version.stdout).toMatch(/^v22\./)
    expect((await portico('list')).stdout).toContain(id)
    expect((await portico('exec', '--timeout', '1s', id, '--', 'sleep', '60')).code).toBe(124)
    expect((await portico('stop', id)).code).toBe(0)
    const gone = await portico('exec', id, '--', 'true')
    expect(gone.code).toBe(125)
    expect(gone.stderr).toMatch(/^portico: cannot /)
  })
})
