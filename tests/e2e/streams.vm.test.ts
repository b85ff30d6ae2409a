/** Output that flows as it is made, is kept for whoever comes back, and waits for whoever is slow; terminals and shell sessions on it. */

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { Sandbox } from '@portico/sdk'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { type TestPlatform, testPlatform } from '../kit/platform.ts'
import { Relay } from '../kit/relay.ts'

describe('what a sandbox prints', () => {
  const relay = new Relay()
  let test: TestPlatform
  let sandbox: Sandbox

  beforeAll(async () => {
    test = await testPlatform({ tunnelPort: (frontDoor) => relay.open(frontDoor) })
    sandbox = await test.portico.create({ image: 'python', autoResume: true })
  })

  afterAll(async () => {
    await test?.[Symbol.asyncDispose]()
    await relay[Symbol.asyncDispose]()
  })

  it('comes as it is printed, with standard error apart and the end last', async () => {
    const response = await test.call(`/v1/runs/${sandbox.id}/exec/stream`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ command: 'echo first; echo oops >&2; exit 3' }),
    })
    expect(response.headers.get('content-type')).toContain('text/event-stream')
    const text = await response.text()
    expect(text.indexOf('event: process')).toBe(0)
    expect(text).toMatch(/event: stdout\n(id: \d+\n)?data: \{"data":"first\\n"\}/)
    expect(text).toMatch(/event: stderr\n(id: \d+\n)?data: \{"data":"oops\\n"\}/)
    expect(text.trimEnd().split('\n\n').at(-1)).toMatch(/^event: exit\n(id: \d+\n)?data: \{"exit_code":3,/)
  })

  it('arrives while the command still runs', async () => {
    await sandbox.exec('mkfifo /root/go')
    const printed: string[] = []
    const running = sandbox.exec('echo ready; cat /root/go; echo done', {
      onStdout: (text: string) => {
        printed.push(text)
        if (printed.join('') === 'ready\n') void sandbox.exec('echo gone >/root/go')
      },
    })
    expect(await running).toMatchObject({ exitCode: 0 })
    expect(printed.join('')).toBe('ready\ngone\ndone\n')
  })

  it('is followed by 20 readers through a cut of the tunnel, whole for each', async () => {
    const outputs = Array.from({ length: 20 }, (_, index) =>
      Array.from({ length: 4000 }, (_, n) => `${index * 4000 + n}\n`).join(''),
    )
    const processes = await Promise.all(
      outputs.map((_, index) => {
        const half = index * 4000 + 2000
        const script = `seq ${index * 4000} ${half - 1}; sleep 1; seq ${half} ${half + 1999}`
        return sandbox.spawn(['sh', '-c', script])
      }),
    )
    let received = 0
    let cut = false
    const hashes = await Promise.all(
      processes.map(async (process) => {
        const hash = createHash('sha256')
        for await (const text of process.stdout) {
          hash.update(text)
          received += text.length
          if (!cut && received > 100_000) {
            cut = true
            relay.cut()
          }
        }
        expect(await process.wait()).toMatchObject({ exitCode: 0 })
        return hash.digest('hex')
      }),
    )
    expect(cut).toBe(true)
    expect(hashes).toEqual(outputs.map((text) => createHash('sha256').update(text).digest('hex')))
  })

  it('is kept over a restart of the runner and over hibernation', async () => {
    const process = await sandbox.spawn('echo before; read line; echo $line', { stdinOpen: true })
    await test.restartRunner('SIGKILL')
    await sandbox.hibernate()
    await sandbox.resume()
    const found = await sandbox.process(process.id)
    await found.write('after\n')
    let text = ''
    for await (const piece of found.stdout) text += piece
    expect(text).toBe('before\nafter\n')
  })

  it('waits in the guest for a slow reader, who gets all of it', async () => {
    // It begins once somebody reads: nobody holds it before.
    const process = await sandbox.spawn(`read go; head -c 30000000 /dev/zero`, { stdinOpen: true })
    let bytes = 0
    let endWhileSlow = 0
    const reading = (async () => {
      for await (const output of process.output) {
        if (output.type === 'gap') throw new Error(`${output.lost} bytes were lost`)
        if (bytes === 0) {
          await sandbox.exec('sleep 1')
          endWhileSlow = (await process.info()).outputEnd
        }
        bytes += output.bytes.length
      }
    })()
    await process.write('go\n')
    await reading
    expect(endWhileSlow).toBeLessThan(20_000_000)
    expect(bytes).toBe(30_000_000)
  })

  const open = async (path: string) => {
    const url = `${test.platform.url.replace(/^http/, 'ws')}/v1/runs/${sandbox.id}/${path}`
    const socket = new WebSocket(`${url}${path.includes('?') ? '&' : '?'}token=${test.platform.apiKey}`)
    await once(socket, 'open')
    return socket
  }

  it('goes to a terminal, whose size the command sees', async () => {
    const socket = await open('terminal?cols=100&rows=30')
    let shown = ''
    const says = (part: string) =>
      new Promise<void>((resolve) => {
        const check = () => (shown.includes(part) ? resolve() : undefined)
        socket.on('message', (bytes: Buffer, isBinary: boolean) => {
          if (isBinary) shown += bytes.toString()
          check()
        })
      })
    const first = says('30 100')
    socket.send(Buffer.from('stty size\n'))
    await first
    socket.send(JSON.stringify({ type: 'resize', cols: 120, rows: 40 }))
    const second = says('40 120')
    socket.send(Buffer.from('stty size\n'))
    await second
    const closed = once(socket, 'close')
    socket.send(Buffer.from('exit 0\n'))
    expect((await closed)[0]).toBe(1000)
  })

  it('comes from a shell session command by command, which keeps folder and variables', async () => {
    await using shell = await sandbox.shell()
    expect(await shell.run('cd /tmp; export A=1; f() { echo "f $A"; }')).toMatchObject({ exitCode: 0 })
    expect(await shell.run('pwd; f; (exit 7)')).toMatchObject({ exitCode: 7, stdout: '/tmp\nf 1\n' })
    expect(await shell.run('echo wrong >&2')).toMatchObject({ exitCode: 0, stderr: 'wrong\n' })
  })
})
