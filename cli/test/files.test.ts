/** Files of a sandbox, and copies of them to here and back, against a platform in the test's own process. */

import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { WireServer } from '@portico/sdk/test-server'
import { Header } from 'tar'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { cli, direct, Running } from './process.ts'
import { newSandbox } from './sandbox.ts'

let wire: WireServer
let id: string
let here: string

beforeEach(async () => {
  wire = await WireServer.open()
  id = await newSandbox(wire)
  here = await mkdtemp(join(tmpdir(), 'cli-files-'))
})

afterEach(async () => {
  await wire.close()
  await rm(here, { recursive: true, force: true })
})

const run = (...args: string[]) => cli(args, wire.environment)
const done = (stdout: string) => ({ code: 0, stdout, stderr: '' })
const inside = () => wire.sandboxes.get(id)?.files ?? new Map()
const put = (path: string, text: string, mode = '644') => inside().set(path, { bytes: Buffer.from(text), mode })

describe('portico ls and stat', () => {
  it('lists names, or more of them', async () => {
    put('/app/main.py', 'print(1)', '755')
    put('/app/deep/er', '')
    expect(await run('ls', id, '/app')).toEqual(done('main.py\n'))
    expect(await run('ls', id, '/app', '--depth', '2')).toEqual(done('main.py\ndeep/er\n'))
    expect((await run('ls', id, '/app', '-l')).stdout).toBe(
      'MODE   SIZE  CHANGED           NAME\n- 755  8     2026-01-02 03:04  main.py\n',
    )
    expect(JSON.parse((await run('ls', id, '/app', '--json')).stdout)).toMatchObject({
      entries: [{ name: 'main.py', mode: '755' }],
      truncated: true,
    })
    const less = await run('ls', id, '/app', '--depth', '2', '--limit', '1')
    expect(less).toMatchObject({ code: 0, stdout: 'main.py\n', stderr: expect.stringMatching(/--limit/) })
  })

  it('prints what is known of a file', async () => {
    put('/app/main.py', 'print(1)', '755')
    expect((await run('stat', id, '/app/main.py')).stdout).toMatch(/\nsize +8\n[\s\S]*\nmode +755\nowner +root\n/)
    expect(JSON.parse((await run('stat', id, '/app/main.py', '--json')).stdout)).toMatchObject({
      type: 'file',
      size: 8,
    })
    expect(await run('stat', id, '/nowhere')).toMatchObject({ code: 125, stdout: '' })
  })
})

describe('portico mkdir, mv and rm', () => {
  it('change what is there, and print nothing', async () => {
    expect(await run('mkdir', id, '-p', '-m', '750', '/app/a', '/app/b')).toEqual(done(''))
    expect(inside().get('/app/b')).toMatchObject({ mode: '750', isDirectory: true })
    expect(await run('mkdir', id, '/app/a')).toMatchObject({ code: 125 })
  })

  it('replace and remove only what they are told to', async () => {
    put('/app/a/x', 'x')
    put('/app/y', 'y')
    expect(await run('mv', id, '--no-clobber', '/app/y', '/app/a/x')).toMatchObject({ code: 125 })
    expect(await run('mv', id, '/app/y', '/app/a/x')).toEqual(done(''))
    expect(inside().get('/app/a/x').bytes.toString()).toBe('y')
    expect(await run('rm', id, '/app/a')).toMatchObject({ code: 125 })
    expect(await run('rm', id, '-r', '/app/a')).toEqual(done(''))
    expect(inside().size).toBe(0)
    expect(await run('rm', id, '/app/a')).toMatchObject({ code: 125 })
    expect(await run('rm', id, '-f', '/app/a')).toEqual(done(''))
  })
})

describe('portico search', () => {
  it('prints where it is, and ends with 1 where it is nowhere', async () => {
    put('/app/a.py', 'one\ntwo \u001b[1m three\n')
    expect(await run('search', id, 't.*e', '/app')).toEqual(done('/app/a.py:2:two \ufffd[1m three\n'))
    const options = ['-F', '-i', '--glob', '*.py', '--limit', '5']
    expect(await run('search', id, 't.*e', '/app', ...options)).toEqual({ code: 1, stdout: '', stderr: '' })
    expect(JSON.parse(wire.requests.at(-1)?.body.toString() ?? '')).toEqual({
      path: '/app',
      pattern: 't.*e',
      literal: true,
      ignore_case: true,
      glob: '*.py',
      max_results: 5,
    })
    const { stdout } = await run('search', id, 'one', '--json')
    expect(JSON.parse(stdout)).toMatchObject({ matches: [], truncated: false })
  })
})

describe('portico watch', () => {
  it('prints changes as they come, until Ctrl-C', async () => {
    const told = ['ready', 'create', 'move'].map((type) => ({ type, path: '/app/a', to: '/app/b' }))
    wire.intercept('GET /v1/runs/*/files/watch', (_seen, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      for (const event of told) response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
      return once(response, 'close')
    })
    const running = new Running([...direct, 'watch', id, '/app', '-r'], wire.environment)
    await running.printed('move /app/a -> /app/b\n')
    running.kill('SIGINT')
    expect(await running.ended()).toEqual({ code: 130, stdout: 'create /app/a\nmove /app/a -> /app/b\n', stderr: '' })
    expect(wire.requests.at(-1)?.query.get('recursive')).toBe('true')
  })
})

describe('portico cp of a file', () => {
  it('goes there with its mode, into a directory under its name', async () => {
    const file = join(here, 'run.sh')
    await writeFile(file, '#!/bin/sh\n')
    await chmod(file, 0o750)
    expect(await run('cp', file, `${id}:/app/new`)).toEqual(done(''))
    expect(inside().get('/app/new')).toMatchObject({ bytes: Buffer.from('#!/bin/sh\n'), mode: '750' })
    await run('mkdir', id, '/srv')
    await run('cp', file, `${id}:/srv`)
    await run('cp', file, `${id}:/other/`)
    expect([...inside().keys()]).toEqual(['/app/new', '/srv', '/srv/run.sh', '/other/run.sh'])
  })

  it('comes from there with its mode, in one step', async () => {
    put('/app/run.sh', '#!/bin/sh\n', '4755')
    const file = join(here, 'mine')
    await writeFile(file, 'former')
    expect(await run('cp', `${id}:/app/run.sh`, file)).toEqual(done(''))
    expect(await readFile(file, 'utf8')).toBe('#!/bin/sh\n')
    expect((await stat(file)).mode & 0o7777 & ~0o022).toBe(0o755)
    wire.intercept('GET /v1/runs/*/files/download', (_seen, response) => {
      response.writeHead(200, { 'content-length': 100 })
      response.write('half', () => response.destroy())
    })
    expect(await run('cp', `${id}:/app/run.sh`, file)).toMatchObject({ code: 125 })
    expect(await readFile(file, 'utf8')).toBe('#!/bin/sh\n')
    await run('cp', `${id}:/app/run.sh`, here)
    expect((await readdir(here)).sort()).toEqual(['mine', 'run.sh'])
  })

  it('goes and comes through our streams', async () => {
    expect(await cli(['cp', '-', `${id}:/app/in`], wire.environment, 'piped')).toEqual(done(''))
    expect(await run('cp', `${id}:/app/in`, '-')).toEqual(done('piped'))
  })

  it('says what is not there, and what is in no sandbox', async () => {
    const missing = await run('cp', join(here, 'nothing'), `${id}:/app`)
    expect(missing).toMatchObject({ code: 125, stderr: expect.stringMatching(/^portico: cannot copy: ENOENT/) })
    expect(await run('cp', `${id}:/nothing`, here)).toMatchObject({ code: 125 })
    expect(await run('cp', here, here)).toMatchObject({ code: 125, stderr: expect.stringMatching(/ID:\/path/) })
  })
})

describe('portico cp of a directory', () => {
  it('goes there and comes back with all that is in it', async () => {
    const from = join(here, 'from')
    await mkdir(join(from, 'deep'), { recursive: true })
    await writeFile(join(from, 'deep', 'a file'), 'content', { mode: 0o755 })
    await symlink('deep/a file', join(from, 'link'))
    expect(await run('cp', from, `${id}:/app`)).toEqual(done(''))
    expect(await run('cp', `${from}/.`, `${id}:/also`)).toEqual(done(''))
    const tar = inside().get('tar:/app').bytes as Buffer
    expect(spawnSync('tar', ['t'], { input: tar }).stdout.toString().trim().split('\n').sort()).toEqual([
      './',
      './deep/',
      './deep/a file',
      './link',
    ])
    inside().set('/app', { bytes: Buffer.alloc(0), mode: '755', isDirectory: true })
    const to = join(here, 'to')
    expect(await run('cp', `${id}:/app`, to)).toEqual(done(''))
    expect(await readFile(join(to, 'deep', 'a file'), 'utf8')).toBe('content')
    expect((await stat(join(to, 'deep', 'a file'))).mode & 0o100).toBe(0o100)
    expect(await readlink(join(to, 'link'))).toBe('deep/a file')
    await run('cp', `${id}:/app`, to)
    expect((await readdir(to)).sort()).toEqual(['app', 'deep', 'link'])
    const piped = new Running([...direct, 'cp', `${id}:/app`, '-'], wire.environment)
    piped.child.stdout.setEncoding('latin1')
    expect((await piped.ended()).stdout.length).toBe(tar.length)
  })

  it('goes under its own name into one that is there', async () => {
    await writeFile(join(here, 'a'), '')
    await run('mkdir', id, '/app')
    await run('cp', here, `${id}:/app`)
    await run('cp', `${here}/.`, `${id}:/app`)
    expect([...inside().keys()].filter((path) => path.startsWith('tar:'))).toEqual([
      `tar:/app/${here.split('/').at(-1)}`,
      'tar:/app',
    ])
  })

  it('never leaves its destination, lends no rights, and says what it left out', async () => {
    await writeFile(join(here, 'good'), 'x', { mode: 0o755 })
    const entry = (path: string, about: object) => {
      const header = new Header({
        path,
        mode: 0o6755,
        uid: 0,
        gid: 0,
        size: 0,
        mtime: new Date(0),
        type: 'File',
        ...about,
      })
      header.encode()
      return header.block ?? Buffer.alloc(0)
    }
    const tar = Buffer.concat([
      entry('good', {}),
      entry('../escaped', {}),
      entry('out', { type: 'SymbolicLink', linkpath: '../..' }),
      entry('out/escaped', {}),
      Buffer.alloc(1024),
    ])
    inside().set('/app', { bytes: Buffer.alloc(0), mode: '755', isDirectory: true })
    inside().set('tar:/app', { bytes: tar, mode: '644' })
    const to = join(here, 'deep', 'to')
    const copied = await run('cp', `${id}:/app`, to)
    expect(copied.code).toBe(125)
    expect(copied.stderr).toMatch(/^portico: \.\.\/escaped: .*\nportico: out: /)
    expect((await stat(join(to, 'good'))).mode & 0o7000).toBe(0)
    expect((await readdir(here)).sort()).toEqual(['deep', 'good'])
    expect(await readdir(join(here, 'deep'))).toEqual(['to'])
  })

  it('of which the sandbox sends nonsense fails', async () => {
    inside().set('/app', { bytes: Buffer.alloc(0), mode: '755', isDirectory: true })
    inside().set('tar:/app', { bytes: Buffer.from('x'.repeat(2048)), mode: '644' })
    expect(await run('cp', `${id}:/app`, join(here, 'to'))).toMatchObject({ code: 125 })
  })
})
