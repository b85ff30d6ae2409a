/** A sandbox's life as a receiver on this machine is told of it, and as its audit log has it. */

import { createHmac } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { verifyAudit } from '@portico/shared/audit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestPlatform, testPlatform } from '../kit/platform.ts'

interface Received {
  readonly event: string
  readonly signature: string
  readonly expected: string
  readonly sandbox: string
}

describe('webhooks and audit', () => {
  let platform: TestPlatform
  let receiver: Server
  let secret = ''
  const received: Received[] = []
  /** Answers of the receiver before it is well. */
  let refusals = 1

  beforeAll(async () => {
    receiver = createServer(async (request, response) => {
      const parts: Buffer[] = []
      for await (const part of request) parts.push(part as Buffer)
      const text = Buffer.concat(parts).toString()
      const timestamp = String(request.headers['portico-timestamp'])
      const expected = `v1=${createHmac('sha256', secret).update(`${timestamp}.${text}`).digest('hex')}`
      const { event, sandbox } = JSON.parse(text) as { event: string; sandbox: { id: string } }
      const signature = String(request.headers['portico-signature'])
      if (refusals-- > 0) return void response.writeHead(503).end()
      received.push({ event, signature, expected, sandbox: sandbox.id })
      response.writeHead(204).end()
    })
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve))
    platform = await testPlatform({ networks: ['public', 'private'] })
  })

  afterAll(async () => {
    await platform?.[Symbol.asyncDispose]()
    receiver.close()
  })

  it('tell the whole life in order, once the receiver is well, and the log verifies after the end', async () => {
    const { port } = receiver.address() as AddressInfo
    const json = (body: object) => ({
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    const made = await platform.call('/v1/webhooks', json({ url: `http://127.0.0.1:${port}/hook` }))
    secret = ((await made.json()) as { secret: string }).secret
    const sandbox = await platform.portico.create({ image: 'python' })
    await sandbox.exec('exit 7')
    await sandbox.hibernate()
    await sandbox.resume()
    await sandbox.destroy()
    const whole = ['created', 'running', 'hibernated', 'resumed', 'destroyed'].map((name) => `sandbox.${name}`)
    await expect.poll(() => received.map(({ event }) => event), { timeout: 30_000 }).toEqual(whole)
    for (const one of received) expect(one).toMatchObject({ sandbox: sandbox.id, signature: one.expected })

    const { key } = (await (await platform.call('/v1/audit/key')).json()) as { key: string }
    const audit = await platform.call(`/v1/runs/${sandbox.id}/audit`)
    const lines = (await audit.text()).split('\n')
    const verdict = await verifyAudit(lines, key)
    expect(verdict).toMatchObject({ ok: true, last: audit.headers.get('portico-audit-last') })
    expect(lines.join()).toContain('"command":"exit 7","exit_code":7')
  }, 120_000)
})
