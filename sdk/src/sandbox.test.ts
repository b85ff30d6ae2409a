import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { execAnswer } from '../test/guest.ts'
import { WireServer } from '../test/wire-server.ts'
import { NotFoundError, Portico, type Sandbox, UnavailableError } from './index.ts'

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

function lastBody(): unknown {
  return JSON.parse(wire.requests.at(-1)?.body.toString() ?? '')
}

describe('exec', () => {
  it('answers with everything that is known of how the command ended', async () => {
    wire.exec = () =>
      execAnswer({
        exit_code: 137,
        stdout: 'ö\n',
        stderr: 'x',
        signal: 'SIGKILL',
        duration_ms: 8,
        stderr_truncated: true,
      })
    expect(await sandbox.exec('x')).toEqual({
      exitCode: 137,
      stdout: 'ö\n',
      stderr: 'x',
      timedOut: false,
      durationMs: 8,
      signal: 'SIGKILL',
      stdoutTruncated: false,
      stderrTruncated: true,
    })
  })

  it('sends a string for the shell and a list for none', async () => {
    await sandbox.exec('echo a | wc')
    expect(lastBody()).toEqual({ command: 'echo a | wc', timeout: 30 })
    await sandbox.exec(['echo', 'a | wc'])
    expect(lastBody()).toEqual({ command: ['echo', 'a | wc'], timeout: 30 })
  })

  it('sends that the image is to run what it runs by itself, with its own arguments or these', async () => {
    await sandbox.exec({ entrypoint: true })
    expect(lastBody()).toEqual({ entrypoint: true, timeout: 30 })
    await sandbox.exec({ entrypoint: true, args: ['--port', '80'] })
    expect(lastBody()).toEqual({ entrypoint: true, args: ['--port', '80'], timeout: 30 })
  })

  it('passes environment, directory and input on', async () => {
    expect((await sandbox.exec(['printenv', 'WHO'], { env: { WHO: 'me' } })).stdout).toBe('me\n')
    expect((await sandbox.exec('pwd', { cwd: '/app' })).stdout).toBe('/app\n')
    expect((await sandbox.exec('cat', { stdin: 'in\n' })).stdout).toBe('in\n')
  })

  it('takes a non-zero exit code for an ordinary result', async () => {
    expect(await sandbox.exec(['exit', '3'])).toMatchObject({ exitCode: 3, timedOut: false })
    expect(await sandbox.exec(['no-such'])).toMatchObject({ exitCode: 127, stderr: 'exec: no-such: not found\n' })
  })

  it('takes a command that its timeout ended for a result, with what it printed', async () => {
    const result = await sandbox.exec('slow', { timeoutSec: 2 })
    expect(result).toMatchObject({ exitCode: 124, timedOut: true, stdout: 'so far\n', durationMs: 2000 })
  })

  it('ends the request when its signal aborts', async () => {
    const controller = new AbortController()
    const arrived = wire.arrival('POST /v1/runs/*')
    const running = sandbox.exec('hang', { signal: controller.signal })
    const seen = await arrived
    controller.abort(new Error('enough'))
    await expect(running).rejects.toThrow('enough')
    await seen.abandoned
  })

  it('runs again after a call that failed', async () => {
    wire.fail('POST /v1/runs/*', 'runner_disconnected')
    await expect(sandbox.exec('echo 1')).rejects.toBeInstanceOf(UnavailableError)
    expect((await sandbox.exec('echo 2')).stdout).toBe('2\n')
  })
})

describe('the record', () => {
  it('changes its timeout on the platform and in the handle', async () => {
    await sandbox.setTimeout(900)
    expect(sandbox.timeoutSec).toBe(900)
    expect(wire.sandboxes.get(sandbox.id)?.record.timeout).toBe(900)
    await sandbox.setTimeout(0)
    expect((await sandbox.info()).timeoutSec).toBe(0)
  })

  it('looks again', async () => {
    const stored = wire.sandboxes.get(sandbox.id)
    if (stored) stored.record = { ...stored.record, status: 'error', reason: 'its machine ended' }
    expect(await sandbox.info()).toMatchObject({ status: 'error', reason: 'its machine ended' })
    expect(sandbox.status).toBe('error')
  })

  it('tells a sandbox that is gone', async () => {
    await sandbox.destroy()
    await expect(sandbox.info()).rejects.toMatchObject({
      name: 'NotFoundError',
      code: 'sandbox_not_found',
      status: 404,
    })
  })

  it('reads as plain data', async () => {
    expect(JSON.parse(JSON.stringify(sandbox))).toMatchObject({ id: sandbox.id, image: 'python', memMiB: 1024 })
  })
})

describe('usage', () => {
  it('answers with what was used until now', async () => {
    expect(await sandbox.usage()).toEqual({
      cpuMs: 40,
      memPeakBytes: 50_000_000,
      memCurrentBytes: 40_000_000,
      diskUsedBytes: 1_000_000,
      uptimeMs: 1500,
      costCents: 0.0016,
    })
    expect(wire.count(`GET /v1/runs/${sandbox.id}/usage`)).toBe(1)
  })
})

describe('destroy', () => {
  it('answers with what was used', async () => {
    expect(await sandbox.destroy()).toEqual({
      cpuMs: 40,
      memPeakBytes: 50_000_000,
      memCurrentBytes: 40_000_000,
      diskUsedBytes: 1_000_000,
      uptimeMs: 1500,
      costCents: 0.0016,
    })
    expect(sandbox.status).toBe('destroyed')
    await expect(sandbox.destroy()).rejects.toBeInstanceOf(NotFoundError)
  })

  it('happens at the end of an `await using` block, also when the block throws', async () => {
    const broken = async () => {
      await using mine = sandbox
      throw new Error(`in the middle of ${mine.image}`)
    }
    await expect(broken()).rejects.toThrow('in the middle of python')
    expect(wire.sandboxes.size).toBe(0)
  })

  it('is left out by `await using` after destroy', async () => {
    {
      await using mine = sandbox
      await mine.destroy()
    }
    expect(wire.count('DELETE /v1/runs/*')).toBe(1)
  })

  it('by `await using` does not mind that the sandbox is gone', async () => {
    {
      await using _mine = sandbox
      wire.sandboxes.clear()
    }
    expect(wire.count('DELETE /v1/runs/*')).toBe(1)
  })

  it('by `await using` tells of any other failure', async () => {
    wire.fail('DELETE /v1/runs/*', 'internal')
    const block = async () => {
      await using _mine = sandbox
    }
    await expect(block()).rejects.toMatchObject({ code: 'internal' })
  })
})

describe('a signal', () => {
  const calls: Record<string, (signal: AbortSignal) => Promise<unknown>> = {
    'GET /v1/runs': (signal) => portico.list({ signal }),
    'GET /v1/images': (signal) => portico.images({ signal }),
    'GET /v1/snapshots': (signal) => portico.snapshots({ signal }),
    'DELETE /v1/snapshots/*': (signal) => portico.deleteSnapshot('snapaaaa', { signal }),
    'GET /v1/runs/*': (signal) => sandbox.info({ signal }),
    'PATCH /v1/runs/*': (signal) => sandbox.setTimeout(1, { signal }),
    'DELETE /v1/runs/*': (signal) => sandbox.destroy({ signal }),
    'POST /v1/runs/*': (signal) => sandbox.files.write('/a', 'b', { signal }),
  }

  it.each(Object.entries(calls))('ends %s and reaches the platform', async (route, call) => {
    wire.intercept(route, (seen) => seen.abandoned)
    const controller = new AbortController()
    const arrived = wire.arrival(route)
    const running = call(controller.signal)
    const seen = await arrived
    controller.abort(new Error('enough'))
    await expect(running).rejects.toThrow('enough')
    await seen.abandoned
  })

  it('that aborted before the call sends nothing', async () => {
    const asked = wire.requests.length
    for (const call of Object.values(calls))
      await expect(call(AbortSignal.abort(new Error('before')))).rejects.toThrow('before')
    expect(wire.requests.length).toBe(asked)
  })

  it('keeps no listener of a call that is over', async () => {
    const { signal } = new AbortController()
    let listeners = 0
    const add = signal.addEventListener.bind(signal)
    const remove = signal.removeEventListener.bind(signal)
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners++
      add(...args)
    }
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners--
      remove(...args)
    }
    await sandbox.exec('echo 1', { signal })
    await sandbox.files.write('/a', 'b', { signal })
    await sandbox.files.read('/a', { signal })
    await portico.create({ signal })
    expect(listeners).toBe(0)
  })
})
