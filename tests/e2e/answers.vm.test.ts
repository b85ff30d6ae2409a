/** What a user gets for mistakes and for extremes: one clear line, nothing lost, no stack trace. */

import { createHash, randomBytes } from 'node:crypto'
import type { Sandbox } from '@portico/sdk'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestPlatform, testPlatform } from '../kit/platform.ts'

interface ErrorAnswer {
  status: number
  error: string
  code: string
  hint?: string
}

describe('answers to mistakes and extremes', () => {
  let platform: TestPlatform
  let sandbox: Sandbox

  beforeAll(async () => {
    platform = await testPlatform()
    sandbox = await platform.portico.create({ image: 'python' })
  })

  afterAll(async () => {
    await platform?.[Symbol.asyncDispose]()
  })

  const json = (body: string | object, method = 'POST') => ({
    method,
    headers: { 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })

  /** The error answer, having checked what holds for each: one line, a request id, no stack, no path of the host. */
  async function refused(path: string, init?: Parameters<TestPlatform['call']>[1]): Promise<ErrorAnswer> {
    const response = await platform.call(path, init)
    const text = await response.text()
    const body = JSON.parse(text) as ErrorAnswer & { request_id: string }
    expect(body.error).not.toContain('\n')
    expect(text).not.toMatch(/\bat .*:\d+|\.ts\b|node_modules|\.portico/)
    expect(body.request_id).toBe(response.headers.get('x-request-id'))
    return { ...body, status: response.status }
  }

  it('refuses a wrong key, no key, and a key with a digit changed', async () => {
    const changed = platform.platform.apiKey.replace(/.$/, (last) => (last === 'a' ? 'e' : 'a'))
    for (const key of ['', 'nonsense', 'portico_live_local_a_b', changed]) {
      expect(await refused('/v1/runs', { key })).toMatchObject({ status: 401, code: 'unauthorized' })
    }
  })

  it('answers for a sandbox of another account as for one that never was', async () => {
    const { url, adminKey } = platform.platform
    const admin = async (path: string, body: object) =>
      (await (
        await fetch(url + path, {
          ...json(body),
          headers: { authorization: `Bearer ${adminKey}`, 'content-type': 'application/json' },
        })
      ).json()) as Record<string, string>
    const { id } = await admin('/admin/accounts', { name: 'other' })
    const { key } = await admin(`/admin/accounts/${id}/keys`, { region: 'local' })
    const unknown = `run${'a'.repeat(26)}`
    for (const [method, path, body] of [
      ['GET', '', undefined],
      ['DELETE', '', undefined],
      ['PATCH', '', { timeout: 1 }],
      ['POST', '/exec', { command: 'true' }],
      ['GET', '/files?path=/', undefined],
      ['GET', '/files/download?path=/etc/hostname', undefined],
      ['POST', '/files/upload?path=/x', { a: 1 }],
    ] as const) {
      const init = { method, key: key as string, ...(body ? json(body, method) : {}) }
      const foreign = await refused(`/v1/runs/${sandbox.id}${path}`, init)
      const never = await refused(`/v1/runs/${unknown}${path}`, init)
      expect(foreign).toMatchObject({ status: 404, code: 'sandbox_not_found' })
      expect(foreign.error.replaceAll(sandbox.id, 'ID')).toBe(never.error.replaceAll(unknown, 'ID'))
    }
    expect((await sandbox.exec('echo untouched')).stdout).toBe('untouched\n')
  })

  it('names what is wrong in malformed JSON and in a field', async () => {
    expect(await refused('/v1/runs', json('{"image": "python",'))).toMatchObject({ status: 400, code: 'invalid_json' })
    expect(await refused('/v1/runs', json('[1]'))).toMatchObject({ status: 400 })
    const field = await refused('/v1/runs', json({ image: 'python', mem_mib: 'much' }))
    expect(field).toMatchObject({ status: 400, code: 'invalid_request' })
    expect(field.error).toContain('mem_mib')
  })

  it('refuses a 10 MB body where JSON is expected', async () => {
    const big = JSON.stringify({ image: 'python', padding: 'x'.repeat(10_000_000) })
    expect(await refused('/v1/runs', json(big))).toMatchObject({ status: 413, code: 'payload_too_large' })
    expect(await refused(`/v1/runs/${sandbox.id}/exec`, json(big))).toMatchObject({
      status: 413,
      code: 'payload_too_large',
    })
  })

  it('refuses a relative path, and takes dots in an absolute one inside the sandbox only', async () => {
    const relative = encodeURIComponent('../../etc/passwd')
    const answer = await refused(`/v1/runs/${sandbox.id}/files/download?path=${relative}`)
    expect(answer).toMatchObject({ status: 400, code: 'invalid_path' })
    expect(answer.hint).toContain('absolute')
    await sandbox.exec('echo from-the-guest > /etc/marker')
    expect(await sandbox.files.readText('/usr/../../../../etc/marker')).toBe('from-the-guest\n')
  })

  it('answers 404 for a missing file and 409 for a directory read as a file', async () => {
    expect(await refused(`/v1/runs/${sandbox.id}/files/download?path=/no/such`)).toMatchObject({
      status: 404,
      code: 'file_not_found',
    })
    expect(await refused(`/v1/runs/${sandbox.id}/files/download?path=/etc`)).toMatchObject({
      status: 409,
      code: 'is_directory',
    })
    expect(await refused(`/v1/runs/${sandbox.id}/files?path=/no/such`)).toMatchObject({
      status: 404,
      code: 'file_not_found',
    })
  })

  it('reports a missing binary as a shell does', async () => {
    expect(await sandbox.exec(['no-such-binary', '--version'])).toMatchObject({
      exitCode: 127,
      stderr: 'exec: no-such-binary: not found\n',
    })
    expect(await sandbox.exec('no-such-binary')).toMatchObject({ exitCode: 127 })
    expect(await sandbox.exec(['/etc/hostname'])).toMatchObject({ exitCode: 126 })
  })

  it('returns the first 10 MiB of a command that prints 100 MB, says so, and the sandbox goes on', async () => {
    const result = await sandbox.exec('head -c 100000000 /dev/zero | tr "\\0" x; echo end >&2', { timeoutSec: 110 })
    expect(result).toMatchObject({ exitCode: 0, stderr: 'end\n', stdoutTruncated: true, stderrTruncated: false })
    expect(result.stdout.length).toBe(10 * 2 ** 20)
    expect((await sandbox.exec('echo on')).stdout).toBe('on\n')
  })

  it('ends a command at its timeout with all its children, keeping what it printed', async () => {
    const result = await sandbox.exec('echo before; sleep 1000 & sleep 1000', { timeoutSec: 1 })
    expect(result).toMatchObject({ exitCode: 124, timedOut: true, stdout: 'before\n' })
    expect((await sandbox.exec('pgrep -c sleep')).stdout).toBe('0\n')
  })

  it('keeps a process that the command put in the background', async () => {
    const started = performance.now()
    await sandbox.exec('nohup setsid sleep 1000 >/dev/null 2>&1 &')
    expect(performance.now() - started).toBeLessThan(30_000)
    expect((await sandbox.exec('pgrep -c sleep; pkill sleep')).stdout).toBe('1\n')
  })

  it('keeps a file of 0 bytes and one of 50 MB as they are', async () => {
    const bytes = randomBytes(50_000_000)
    await sandbox.files.write('/data/none', '')
    await sandbox.files.write('/data/much', bytes)
    expect((await sandbox.files.read('/data/none')).length).toBe(0)
    const back = await sandbox.files.read('/data/much')
    const hash = (data: Uint8Array) => createHash('sha256').update(data).digest('hex')
    expect(hash(back)).toBe(hash(bytes))
    expect((await sandbox.exec('sha256sum /data/much', { timeoutSec: 60 })).stdout).toContain(hash(bytes))
  })

  it('reports a full disk and stays usable', async () => {
    await using small = await platform.portico.create({ image: 'python', memMiB: 256, diskMiB: 256 })
    expect(await small.exec('fallocate -l 190M /filler')).toMatchObject({ exitCode: 0 })
    await expect(small.files.write('/big', randomBytes(80_000_000))).rejects.toMatchObject({
      code: 'no_space',
      status: 507,
    })
    expect(await small.files.list('/')).not.toContainEqual(expect.objectContaining({ name: 'big' }))
    expect((await small.exec('echo on')).stdout).toBe('on\n')
  })

  it('refuses settings that it could not keep', async () => {
    const answer = await refused('/v1/runs', json({ image: 'python', network: { allow: ['example.com'] } }))
    expect(answer).toMatchObject({ status: 400, code: 'unsupported' })
    expect(answer.error).toContain('network')
  })

  it('names an unknown image', async () => {
    const answer = await refused('/v1/runs', json({ image: 'ghcr.io/nobody/nothing:1' }))
    expect(answer).toMatchObject({ status: 400, code: 'image_unknown' })
    expect(answer.error).toContain('ghcr.io/nobody/nothing:1')
  })

  it('answers a second DELETE with 404', async () => {
    const short = await platform.portico.create({ image: 'python' })
    expect((await platform.call(`/v1/runs/${short.id}`, { method: 'DELETE' })).status).toBe(200)
    expect(await refused(`/v1/runs/${short.id}`, { method: 'DELETE' })).toMatchObject({ status: 404 })
  })

  it('answers an unknown path and a wrong method in JSON', async () => {
    expect(await refused('/v2/nothing')).toMatchObject({ status: 404, code: 'not_found' })
    expect(await refused('/v1/runs', { method: 'PUT' })).toMatchObject({ status: 405, code: 'method_not_allowed' })
  })
})
