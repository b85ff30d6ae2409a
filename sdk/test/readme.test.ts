import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { ExecRequest } from '@portico/shared/api'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { execAnswer } from './guest.ts'
import type { WireProcess } from './wire-processes.ts'
import { type SeenRequest, WireServer } from './wire-server.ts'
import type { WireSocket } from './wire-sockets.ts'

const run = promisify(execFile)
const readme = await readFile(join(import.meta.dirname, '..', 'README.md'), 'utf8')
const snippets = [...readme.matchAll(/^```ts\n(.*?)^```/gms)].map((found) => found[1] ?? '')

/** What each snippet prints when the guest answers as a real one does. */
const printed = [
  '0 hi\n\n',
  'Linux 6.12\n\n',
  'resolve \npull 3145728\nunpack \nerofs \nweb:1\n',
  '42\n\n',
  '1\n2\n3\n0\n',
  'a\nb\n\n0\n',
  '/tmp\nme\n\n',
  '200\n',
  '#!/bin/sh\necho hi\n\n3\n11\nrun.sh 18 755\ndata.bin 3 644\nlarge.bin 11 644\n',
  '/app/src/main.py:2: print(os.name)\n/app/src/old.py:2: print(os.name)\nfalse directory\n',
  '/tmp/new\n',
  'running\nServing HTTP\n\nstopped\n',
  'good\nbefore true\n',
  "{ step: 3 } null\n[ 'job/2' ]\n",
  'once true\nonce true\nonce true\n',
  'long ago\n',
  'true hibernated\nLinux 6.12\n\n',
  'file_not_found cannot read /nowhere: no such file\n',
  'true\n',
  'nobody waits for it\n',
  'build 7 running\n',
  'short true\n0\n',
  "true\n{ ok: false, line: 1, why: 'entry 0 is due, and this is entry 1' }\n",
  'true\n400\n',
  'true read-only\n10\n',
]

async function guest({ command, stdin, env }: ExecRequest, seen: SeenRequest) {
  const line = typeof command === 'string' ? command : command.join(' ')
  if (line === 'python3 /app/main.py') return execAnswer({ stdout: 'hi\n' })
  if (line === 'uname -sr') return execAnswer({ stdout: 'Linux 6.12\n' })
  if (line.startsWith('expr')) return execAnswer({ stdout: `${Number(env?.A) + 1}\n` })
  if (line.startsWith('python3 -c')) return execAnswer({ stdout: `${stdin?.length}\n` })
  if (line.startsWith('for i in 1 2 3')) return execAnswer({ stdout: '1\n2\n3\n' })
  await seen.abandoned
  return execAnswer()
}

/** A process of the snippets that does not end by itself. */
async function lasting(process: WireProcess): Promise<boolean> {
  if (process.request.command === 'sort') {
    await process.until(() => !process.isStdinOpen)
    process.print('stdout', `${process.stdin.toString().trim().split('\n').sort().join('\n')}\n`)
    process.exit(0)
    return true
  }
  if (!String(process.request.command).includes('http.server')) return false
  process.print('stdout', 'Serving HTTP\n')
  return true
}

/** A shell as the snippets see it. */
async function shell(socket: WireSocket): Promise<void> {
  socket.say({ type: 'session', id: 'ses1', offset: 0 })
  socket.onMessage((text) => {
    const { type, id, command } = JSON.parse(text)
    if (type === 'close') return socket.say({ type: 'closed', exit_code: 0 })
    if (command.startsWith('pwd')) socket.say({ type: 'stdout', id, data: '/tmp\nme\n' })
    socket.say({ type: 'exit', id, exit_code: 0, duration_ms: 1 })
  })
}

describe('the README', () => {
  let wire: WireServer
  let folder: string

  beforeAll(async () => {
    wire = await WireServer.open()
    wire.exec = guest
    const usual = wire.processes.script
    wire.processes.script = async (process, request, seen) => {
      if (!(await lasting(process))) await usual(process, request, seen)
    }
    void wire.sockets.next().then(shell)
    wire.intercept('GET /v1/runs/*/proxy/8000/', (_seen, response) => response.end('hi'))
    wire.services.log('web').print('stdout', 'Serving HTTP\n')
    wire.intercept('GET /v1/runs/*/files/watch', async (seen, response) => {
      const event = (value: object) => response.write(`data: ${JSON.stringify(value)}\n\n`)
      const written = wire.arrival('POST /v1/runs/*/files/upload')
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      event({ type: 'ready' })
      await written
      event({ type: 'create', path: '/tmp/new', is_dir: false })
      await seen.abandoned
    })
    folder = await mkdtemp(join(tmpdir(), 'sdk-readme-'))
    await mkdir(join(folder, 'node_modules', '@portico'), { recursive: true })
    await symlink(join(import.meta.dirname, '..'), join(folder, 'node_modules', '@portico', 'sdk'))
  })

  afterAll(async () => {
    await wire.close()
    await rm(folder, { recursive: true, force: true })
  })

  it('has the snippets that are run here', () => {
    expect(snippets.length).toBe(printed.length)
  })

  it.each(snippets.map((snippet, index) => [index + 1, snippet] as const))(
    'has a snippet %d that runs as it is written and leaves nothing',
    async (number, snippet) => {
      const program = join(folder, `snippet-${number}.ts`)
      await writeFile(program, snippet)
      const { stdout, stderr } = await run(process.execPath, ['--conditions', 'portico-source', program], {
        env: { ...process.env, ...wire.environment },
      })
      expect(stderr).toBe('')
      expect(stdout).toBe(printed[number - 1])
      expect([wire.sandboxes.size, wire.snapshots.size]).toEqual([0, 0])
    },
  )
})
