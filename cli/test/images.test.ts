import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { WireServer } from '@portico/sdk/test-server'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { cli, direct, type Ended, Running } from './process.ts'

let wire: WireServer
let folder: string

beforeEach(async () => {
  wire = await WireServer.open()
  folder = await mkdtemp(join(tmpdir(), 'cli-images-'))
})

afterEach(async () => {
  await wire.close()
  await rm(folder, { recursive: true, force: true })
})

async function images(args: readonly string[], input?: string): Promise<Ended> {
  return await cli(['images', ...args], wire.environment, input)
}

function made(): unknown {
  return JSON.parse(wire.requests.findLast(({ method }) => method === 'POST')?.body.toString() ?? 'null')
}

/** Runs it at a terminal, its standard output into a file. */
async function watched(args: readonly string[]): Promise<Ended & { readonly printed: string }> {
  const file = join(folder, 'printed')
  const line = `exec ${[...direct, 'images', ...args].map((word) => `'${word}'`).join(' ')} >${file}`
  const environment = { ...wire.environment, SHELL: '/bin/sh' }
  const ended = await new Running(['script', '-qec', line, '/dev/null'], environment).ended()
  return { ...ended, printed: await readFile(file, 'utf8') }
}

describe('portico images pull', () => {
  it('prints the name that can be run, and nothing else where nobody watches', async () => {
    expect(await images(['pull', 'alpine:3.20'])).toEqual({ code: 0, stdout: 'alpine:3.20\n', stderr: '' })
    expect(await images(['pull', 'alpine:3.20', '--name', 'base:1'])).toEqual({
      code: 0,
      stdout: 'base:1\n',
      stderr: '',
    })
    expect(made()).toEqual({ reference: 'alpine:3.20', name: 'base', tag: '1' })
    const { stdout } = await images(['pull', 'alpine:3.20', '--json'])
    expect(JSON.parse(stdout)).toMatchObject({ kind: 'pull', status: 'ready', reference: 'alpine:3.20' })
  })

  it('shows phases and bytes to who watches', async () => {
    const { code, stdout, printed } = await watched(['pull', 'alpine:3.20'])
    expect(code).toBe(0)
    expect(printed).toBe('alpine:3.20\n')
    expect(stdout).toContain('⠙ pulling alpine:3.20: 3 MiB of 3 MiB')
    expect(stdout).toMatch(/✓ alpine:3\.20 ready in (\d+ms|[\d.]+s) \(4\.8 MiB\)\r\n$/)
  })

  it('tells why it failed', async () => {
    expect(await images(['pull', 'no-such:1'])).toEqual({
      code: 125,
      stdout: '',
      stderr: expect.stringMatching(/^portico: cannot pull no-such:1: its registry does not have it\n(hint: .*\n)?$/),
    })
  })

  it('by Ctrl-C is cancelled and leaves no image', async () => {
    wire.images.script = (image) => image.progress('pull', { done_bytes: 1 })
    const arrived = wire.arrival('GET /v1/images/*')
    const running = new Running([...direct, 'images', 'pull', 'big:1'], wire.environment)
    await arrived
    running.kill('SIGINT')
    expect(await running.ended()).toEqual({ code: 130, stdout: '', stderr: '' })
    expect(wire.images.own.size).toBe(0)
  })
})

describe('portico images build', () => {
  it('builds what a list of instructions says, under the name that is given', async () => {
    await writeFile(join(folder, 'main.py'), 'print(1)')
    const file = join(folder, 'Build')
    await writeFile(file, 'FROM node\nCOPY main.py /app/\nRUN echo a\nSTART --ready-port=80 server\n')
    const options = ['--cpus', '2', '--memory', '512M', '--disk', '2G']
    expect(await images(['build', '-f', file, '--name', 'web:2', ...options])).toEqual({
      code: 0,
      stdout: 'web:2\n',
      stderr: '',
    })
    expect(made()).toEqual({
      name: 'web',
      tag: '2',
      from: 'node',
      steps: [{ run: 'echo a' }],
      env: {},
      files: [{ path: '/app/main.py', content: 'cHJpbnQoMSk=', mode: '644' }],
      vcpus: 2,
      mem_mib: 512,
      disk_mib: 2048,
      start: 'server',
      ready_port: 80,
    })
  })

  it('takes JSON on standard input, with the name in it', async () => {
    const ended = await images(['build', '-f', '-'], '{"name":"web","tag":"7","steps":["echo a"]}')
    expect(ended).toEqual({ code: 0, stdout: 'web:7\n', stderr: '' })
    await images(['build', '-f', '-', '--name', 'other'], '{"name":"web","tag":"7"}')
    expect(made()).toMatchObject({ name: 'other', steps: [], files: [] })
    expect(made()).not.toHaveProperty('tag')
  })

  it('shows steps and what they print to who watches', async () => {
    const file = join(folder, 'Build')
    await writeFile(file, 'FROM node\nRUN echo a\n')
    const { stdout, printed } = await watched(['build', '-f', file, '--name', 'web'])
    expect(printed).toBe('web:latest\n')
    expect(stdout).toContain('building web: step 1: echo a')
    expect(stdout).toContain('\r\u001b[Kecho a\r\n')
    expect(stdout).toMatch(/✓ web:latest ready in /)
  })

  it.each([
    ['FROM x\nADD a b', ['--name', 'web'], /^portico: cannot use standard input:2: there is no instruction ADD/],
    ['FROM x', [], /^portico: cannot build the image: it has no name\nhint: Pass --name\.\n$/],
    ['FROM x\nRUN false', ['--name', 'web'], /^portico: cannot build: step 1 ended with 1\nhint: Read what the step/],
  ])('refuses %j', async (text, args, message) => {
    expect(await images(['build', '-f', '-', ...args], text)).toEqual({
      code: 125,
      stdout: '',
      stderr: expect.stringMatching(message),
    })
  })
})

describe('portico images', () => {
  it('lists what can be run, own ones that are ready among it', async () => {
    await images(['pull', 'no-such:1'])
    await images(['pull', 'alpine:3.20', '--name', 'base'])
    expect(await images([])).toEqual({ code: 0, stdout: 'node\npython\nbase:latest\n', stderr: '' })
    expect((await images(['list', '--json'])).stdout).toBe('["node","python","base:latest"]\n')
  })

  it('lists all own ones with --own, and deletes by name', async () => {
    await images(['pull', 'no-such:1'])
    await images(['pull', 'alpine:3.20', '--name', 'base'])
    const { stdout } = await images(['--own'])
    expect(stdout).toMatch(/^IMAGE +STATUS +KIND +SIZE +AGE +ID\nbase:latest +ready +pull +4\.8 MiB +1s +img\w+\n/)
    expect(stdout).toMatch(/\nno-such:1 +failed +pull +- +1s +img\w+\n$/)
    expect(JSON.parse((await images(['list', '--own', '--json'])).stdout)).toMatchObject([
      { image: 'base:latest' },
      { image: 'no-such:1', code: 'image_missing' },
    ])
    expect(await images(['rm', 'base', 'none'])).toEqual({
      code: 125,
      stdout: 'base\n',
      stderr: expect.stringMatching(/^portico: cannot find image none\nhint: /),
    })
    expect(wire.images.own.size).toBe(1)
  })
})
