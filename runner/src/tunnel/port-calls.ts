/** The edge's calls to servers in sandboxes: their log lines and their end. A line for each that failed; the others are lines of level debug, as there are very many. */

import { AppError } from '@portico/shared/errors'
import type { TunnelStream } from '@portico/shared/tunnel'
import type { Logger } from '../log.ts'
import { type Lender, portRequest, type RequestCall } from '../port/http.ts'
import { type Connector, portSocket, type SocketCall } from '../port/socket.ts'

export async function portCall(
  engine: Lender & Connector,
  log: Logger,
  stream: TunnelStream,
  call: RequestCall | SocketCall,
): Promise<void> {
  const start = performance.now()
  const facts = (outcome: string) => ({
    sandbox: call.sandbox,
    port: call.port,
    ...(call.request_id === undefined ? {} : { request: call.request_id }),
    outcome,
    ms: Math.round(performance.now() - start),
  })
  try {
    const status =
      call.op === 'port.request' ? await portRequest(engine, stream, call) : await portSocket(engine, stream, call)
    if (log.isLevelEnabled('debug')) log.debug({ ...facts('ok'), status }, call.op)
  } catch (thrown) {
    const error = AppError.from(thrown)
    if (error.code !== 'internal') log.warn({ ...facts(error.code), error }, call.op)
    throw error
  }
}
