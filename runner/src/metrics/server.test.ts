import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Server } from 'node:http'
import { expect, it } from 'vitest'
import { silentLog } from '../log.ts'
import type { Metrics } from './metrics.ts'
import { serveMetrics } from './server.ts'

it('serves on after its socket had an error, which it logs', async () => {
  const log = silentLog()
  const warned: unknown[] = []
  log.warn = ((facts: { error: Error }) => void warned.push(facts.error.message)) as typeof log.warn
  const page = async () => ({ type: 'text/plain', text: 'figures' })
  await using serving = await serveMetrics({ page } as Metrics, '127.0.0.1:0', log)
  let server: Server | undefined
  const seen = (message: unknown) => {
    server = (message as { server: Server }).server
  }
  subscribe('http.server.request.start', seen)
  await fetch(serving.url)
  unsubscribe('http.server.request.start', seen)
  for (const why of ['EMFILE', 'ENFILE']) server?.emit('error', new Error(why))
  expect(warned).toEqual(['EMFILE', 'ENFILE'])
  expect(await (await fetch(serving.url)).text()).toBe('figures')
})
