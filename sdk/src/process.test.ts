import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { execAnswer } from '../test/guest.ts'
import { WireServer } from '../test/wire-server.ts'
import { NotFoundError, Portico, type ProcessOutput, type Sandbox } from './index.ts'

let wire: WireServer
let portico: Portico
let sandbox: Sandbox

beforeEach(async () => {
  wire = await WireServer.open()
  portico = new Portico({ baseUrl: wire.url, apiKey: wire.apiKey })
  sandbox = await portico.create({ image: 'python' })
})

afterEach(async () => {
  await portico.close()
  await wire.close()
})

/** Processes do nothing but what the test does to them. */
function quiet(): void {
  wire.processes.script = () => undefined
}

async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const found: Item[] = []
  for await (const item of items) found.push(item)
  return found
}

const text = (items: readonly ProcessOutput[]) =>
  items.map((item) => (item.type === 'gap' ? `[${item.lost} lost]` : `${item.type}:${Buffer.from(item.bytes)}`))

describe('exec with listeners', () => {
  it('tells output as it comes and answers as exec without', async () => {
    quiet()
    const told: string[] = []
    const running = sandbox.exec('x', {
      onStdout: (text) => told.push(`out ${text}`),
      onStderr: (text) => told.push(`err ${text}`),
    })
    await wire.arrival('GET /v1/runs/*')
    const process = wire.processes.only
    process.print('stdout', Buffer.from([0xc3]))
    process.print('stderr', 'oops')
    process.print('stdout', Buffer.from([0xb6, 0x0a, 0xff]))
    process.exit(3)
    expect(await running).toEqual({
      exitCode: 3,
      stdout: 'ö\n\ufffd',
      stderr: 'oops',
      timedOut: false,
      durationMs: 3,
      signal: undefined,
      stdoutTruncated: false,
      stderrTruncated: false,
    })
    expect(told).toEqual(['err oops', 'out ö\n\ufffd'])
  })

  it('sends what exec sends, and has the process forgotten', async () => {
    const result = await sandbox.exec(['printenv', 'WHO'], {
      env: { WHO: 'me' },
      user: 'nobody',
      cwd: '/tmp',
      onStdout: () => undefined,
    })
    expect(result).toMatchObject({ exitCode: 0, stdout: 'me\n' })
    const spawned = wire.requests.find(({ method, path }) => method === 'POST' && path.endsWith('/processes'))
    expect(JSON.parse(spawned?.body.toString() ?? '')).toMatchObject({
      command: ['printenv', 'WHO'],
      timeout: 30,
      user: 'nobody',
      cwd: '/tmp',
    })
    await portico.close()
    expect(wire.processes.all.size).toBe(0)
  })

  it('keeps 10 MiB of each output and says that it was more', async () => {
    const stdout = 'x'.repeat(10 * 2 ** 20)
    wire.exec = () => execAnswer({ stdout: `${stdout}y`, stderr: stdout })
    let told = 0
    const result = await sandbox.exec('x', {
      onStdout: (text) => {
        told += text.length
      },
    })
    expect(told).toBe(stdout.length + 1)
    expect(result.stdout === stdout && result.stderr === stdout).toBe(true)
    expect(result).toMatchObject({ stdoutTruncated: true, stderrTruncated: false })
  })

  it('goes on where it stood when the connection breaks, again and again', async () => {
    const stdout = Array.from({ length: 20_000 }, (_, line) => `line ${line}\n`).join('')
    wire.exec = () => execAnswer({ stdout })
    wire.processes.cuts.push(1000, 13, 0, 50_000, 14)
    const parts: string[] = []
    const result = await sandbox.exec('x', { onStdout: (part) => parts.push(part) })
    expect(parts.join('') === stdout && result.stdout === stdout).toBe(true)
    expect(wire.requests.filter(({ path }) => path.endsWith('/output'))).toHaveLength(6)
  })

  it('tells a gap, and marks both outputs as cut', async () => {
    quiet()
    const lost: number[] = []
    wire.processes.script = (process) => {
      process.print('stdout', 'old')
      process.forget()
      process.print('stdout', 'new')
      process.exit(0)
    }
    const result = await sandbox.exec('x', { onStdout: () => undefined, onGap: (bytes) => lost.push(bytes) })
    expect(lost).toEqual([3])
    expect(result).toMatchObject({ stdout: 'new', stdoutTruncated: true, stderrTruncated: true })
  })

  it('ends the command when its signal aborts, and rejects with the reason', async () => {
    quiet()
    const controller = new AbortController()
    const arrived = wire.arrival('GET /v1/runs/*')
    const running = sandbox.exec('x', { onStdout: () => undefined, signal: controller.signal })
    await arrived
    const process = wire.processes.only
    const removed = wire.arrival('DELETE /v1/runs/*')
    controller.abort(new Error('enough'))
    await expect(running).rejects.toThrow('enough')
    await removed
    expect(process.signals).toEqual(['SIGKILL'])
    expect(wire.count('DELETE /v1/runs/*')).toBe(1)
  })

  it('ends a command that was being started when its signal aborted', async () => {
    quiet()
    const controller = new AbortController()
    const release = Promise.withResolvers<void>()
    wire.intercept('POST /v1/runs/*', async (seen, response) => {
      await release.promise
      await wire.answer(seen, response)
    })
    const arrived = wire.arrival('POST /v1/runs/*')
    const running = sandbox.exec('x', { onStdout: () => undefined, signal: controller.signal })
    await arrived
    controller.abort(new Error('enough'))
    await expect(running).rejects.toThrow('enough')
    release.resolve()
    await portico.close()
    expect(wire.processes.all.size).toBe(0)
    expect(wire.count('DELETE /v1/runs/*')).toBe(1)
  })

  it('ends the command when a listener throws', async () => {
    const told = () => {
      throw new Error('full')
    }
    await expect(sandbox.exec('echo hi', { onStdout: told })).rejects.toThrow('full')
    await portico.close()
    expect(wire.processes.all.size).toBe(0)
  })
})

describe('a process', () => {
  it('is read through both outputs in order, and each of them by itself', async () => {
    quiet()
    const process = await sandbox.spawn('x', { timeoutSec: 5, bufferBytes: 100_000 })
    expect(process).toMatchObject({ id: wire.processes.only.id, pid: 100, argv: ['/bin/sh', '-c', 'x'], tty: false })
    const one = wire.processes.only
    one.print('stdout', 'a')
    one.print('stderr', 'b')
    one.print('stdout', 'c')
    one.exit(0)
    expect(text(await all(process.output))).toEqual(['stdout:a', 'stderr:b', 'stdout:c'])
    expect(await all(process.stdout)).toEqual(['a', 'c'])
    expect(await all(process.stderr)).toEqual(['b'])
    expect(text(await all(process.follow({ from: 2 })))).toEqual(['stdout:c'])
    expect(await process.wait()).toEqual({ exitCode: 0, signal: undefined, timedOut: false, durationMs: 3 })
  })

  it('has what was printed told without waiting for more', async () => {
    quiet()
    const process = await sandbox.spawn('x')
    wire.processes.only.print('stdout', 'so far')
    expect(text(await all(process.printed()))).toEqual(['stdout:so far'])
    expect(text(await all(process.printed({ from: 3 })))).toEqual(['stdout:far'])
  })

  it('is written to, each byte once, though answers are lost', async () => {
    const process = await sandbox.spawn('cat', { stdinOpen: true })
    wire.intercept('POST /v1/runs/*', async (seen, response) => {
      wire.processes.only.take(Number(seen.query.get('at')), seen.body.subarray(0, 2), false)
      response.destroy()
    })
    await process.write('grüße')
    wire.fail('POST /v1/runs/*', 'runner_disconnected')
    await process.write(new Uint8Array([10]))
    await process.write(
      (async function* () {
        yield 'more '
        yield new Uint8Array([33])
      })(),
    )
    wire.fail('POST /v1/runs/*', 'runner_disconnected')
    await process.closeStdin()
    expect((await all(process.stdout)).join('')).toBe('grüße\nmore !')
    expect((await process.wait()).exitCode).toBe(0)
    await expect(process.write('late')).rejects.toMatchObject({ code: 'conflict' })
  })

  it('writes in the order of the calls, however many there are at a time', async () => {
    const process = await sandbox.spawn('cat', { stdinOpen: true })
    await Promise.all([process.write('a'.repeat(600_000)), process.write('b'), process.closeStdin()])
    const out = (await all(process.stdout)).join('')
    expect(out === `${'a'.repeat(600_000)}b`).toBe(true)
  })

  it('gets signals and sizes', async () => {
    quiet()
    const process = await sandbox.spawn('x', { tty: { cols: 80, rows: 24 } })
    await process.resize(100, 30)
    await process.signal('SIGINT')
    await process.kill()
    expect(wire.processes.only).toMatchObject({ size: { cols: 100, rows: 30 }, signals: ['SIGINT', 'SIGKILL'] })
    expect(await process.wait()).toMatchObject({ exitCode: 137, signal: 'SIGKILL' })
    expect(await process.info()).toMatchObject({ state: 'exited', tty: true, exit: { exitCode: 137 } })
  })

  it('is waited for beyond one call, and beyond a cut', async () => {
    quiet()
    const process = await sandbox.spawn('x')
    wire.fail('GET /v1/runs/*', 'runner_disconnected')
    wire.intercept('GET /v1/runs/*', (_seen, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(wire.processes.only.record))
      wire.processes.only.exit(4)
    })
    expect((await process.wait()).exitCode).toBe(4)
  })

  it('whose output is gone says so: to onGap, or by failing', async () => {
    quiet()
    const lost: number[] = []
    const process = await sandbox.spawn('x', { onGap: (bytes) => lost.push(bytes) })
    const one = wire.processes.only
    one.print('stdout', 'old')
    one.forget()
    one.print('stdout', 'new')
    one.exit(0)
    expect(await all(process.stdout)).toEqual(['new'])
    expect(lost).toEqual([3])
    expect(text(await all(process.output))).toEqual(['[3 lost]', 'stdout:new'])
    const other = await sandbox.process(process.id)
    await expect(all(other.stdout)).rejects.toMatchObject({ code: 'output_lost' })
  })

  it('is given up after the silence that was allowed', async () => {
    quiet()
    const process = await sandbox.spawn('x', { silenceSec: 0.3 })
    wire.fail('GET /v1/runs/*', 'runner_disconnected', 1000)
    await expect(all(process.output)).rejects.toMatchObject({ code: 'runner_disconnected' })
    await expect(process.wait()).rejects.toMatchObject({ code: 'runner_disconnected' })
  })

  it('that is not known (any more) is no matter of patience', async () => {
    await expect(sandbox.process('procnone')).rejects.toBeInstanceOf(NotFoundError)
    const process = await sandbox.spawn('echo hi')
    wire.processes.all.clear()
    await expect(all(process.output)).rejects.toBeInstanceOf(NotFoundError)
  })

  it('is listed, found again by its id, and forgotten when deleted', async () => {
    const { id } = await sandbox.spawn('echo hi')
    const listed = await sandbox.processes()
    expect(listed).toMatchObject([{ id, state: 'exited', outputEnd: 3, startedAt: new Date('2026-01-02T03:04:05Z') }])
    const again = await sandbox.process(id)
    expect(await all(again.stdout)).toEqual(['hi\n'])
    await again.delete()
    expect(await sandbox.processes()).toEqual([])
  })

  it('ends with the block that owns it, unless it was detached', async () => {
    quiet()
    {
      await using process = await sandbox.spawn('x')
      expect(process.id).toBe(wire.processes.only.id)
    }
    expect(wire.processes.all.size).toBe(0)
    {
      await using process = await sandbox.spawn('x')
      process.detach()
      await expect(all(process.output)).rejects.toMatchObject({ code: 'cancelled' })
    }
    expect(wire.processes.only.ending).toBe(undefined)
  })

  it('is ended by the signal that it was spawned with, at any time', async () => {
    quiet()
    const controller = new AbortController()
    const process = await sandbox.spawn('x', { signal: controller.signal })
    const reading = all(process.output)
    const removed = wire.arrival('DELETE /v1/runs/*')
    controller.abort(new Error('enough'))
    await expect(reading).rejects.toThrow('enough')
    await removed
  })

  it('prints no faster than it is read', async () => {
    const big = Buffer.alloc(8 * 2 ** 20, 'x')
    let written = 0
    wire.intercept('GET /v1/runs/*', (_seen, response) => {
      response.writeHead(200)
      const head = Buffer.alloc(13)
      head.writeUInt8(1)
      head.writeUInt32BE(65_536, 9)
      const more = (): void => {
        while (written < big.length) {
          head.writeBigUInt64BE(BigInt(written), 1)
          const piece = Buffer.concat([head, big.subarray(written, written + 65_536)])
          written += 65_536
          if (!response.write(piece)) return void response.once('drain', more)
        }
      }
      more()
    })
    quiet()
    const process = await sandbox.spawn('x')
    const reading = process.output[Symbol.asyncIterator]()
    await reading.next()
    // What was not read is in the kernel's buffers at most.
    expect(written).toBeLessThan(big.length)
    await reading.return?.()
  })

  it('refuses an option that it does not know', async () => {
    await expect(sandbox.spawn('x', { timeout: 3 } as object)).rejects.toMatchObject({ code: 'invalid_request' })
  })
})
