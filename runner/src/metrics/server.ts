/** Where Prometheus scrapes: `GET /metrics`, and nothing else. It has no keys, so it listens where the operator says, on loopback as a rule. */

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { AppError } from '@portico/shared/errors'
import type { Logger } from '../log.ts'
import { parseListen } from './listen.ts'
import type { Metrics } from './metrics.ts'

export interface MetricsServer extends AsyncDisposable {
  readonly url: string
}

/** Serves them; rejects where it cannot listen. */
export async function serveMetrics(metrics: Metrics, listen: string, log: Logger): Promise<MetricsServer> {
  const where = parseListen(listen)
  if (where === undefined) throw cannotListen(listen, 'it is not ADDRESS:PORT')
  const server = createServer((request, response) => void answer(metrics, request, response))
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => reject(cannotListen(listen, 'the address cannot be had', cause)))
    server.listen(where.port, where.host, resolve)
  })
  // Without somebody who hears it, it would end the runner.
  server.removeAllListeners('error').on('error', (error) => log.warn({ error }, 'metrics.server'))
  const { address, family, port } = server.address() as AddressInfo
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}/metrics`,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
}

async function answer(metrics: Metrics, request: IncomingMessage, response: ServerResponse): Promise<void> {
  request.resume()
  if (request.url?.split('?')[0] !== '/metrics') return void response.writeHead(404).end()
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return void response.writeHead(405, { allow: 'GET, HEAD' }).end()
  }
  try {
    const { type, text } = await metrics.page()
    response.writeHead(200, { 'content-type': type }).end(request.method === 'HEAD' ? undefined : text)
  } catch {
    response.writeHead(500).end()
  }
}

function cannotListen(listen: string, why: string, cause?: unknown): AppError {
  return new AppError('invalid_request', `cannot serve metrics at ${listen}: ${why}`, { cause })
}
