/** `POST /v1/runs/{id}/exec/stream`: a command whose output is told as it comes, as server-sent events. A caller that goes away ends it; one that reads slowly holds it. */

import { AppError } from '@portico/shared/errors'
import { ExecNotes } from '../audit/calls.ts'
import type { Call } from '../call.ts'
import { callGuest } from '../guest/call-guest.ts'
import { AsEvents, encodeEvent } from '../process/as-events.ts'
import { jsonContent, waitMs } from '../process/ask.ts'
import { type CommandRequest, execCommand } from '../process/command.ts'
import { followed } from '../process/follow.ts'
import { encodingOf, holderPatienceMs, processIdPattern } from '../process/output-query.ts'
import { type Span, traced } from '../tracing/span.ts'
import { sandboxOf } from './runs.ts'

export async function execStream(call: Call<'key', CommandRequest>): Promise<Response> {
  const { id } = sandboxOf(call)
  return traced(call, 'sandbox.exec', { 'portico.sandbox.id': id, 'portico.streamed': true }, (span) =>
    stream(call, id, span),
  )
}

async function stream(call: Call<'key', CommandRequest>, id: string, span: Span): Promise<Response> {
  const { body, requestId, url } = call
  if (body.detach) {
    throw new AppError('invalid_request', 'cannot stream the command: with detach it is started by POST …/processes')
  }
  const translation = new AsEvents(encodingOf(url.searchParams), requestId)
  const notes = new ExecNotes(call, id, body.command)
  try {
    const output = await callGuest(call, id, {
      method: 'POST',
      path: '/processes',
      ...jsonContent({ ...execCommand(body), follow: true }),
      waitMs,
      patienceMs: holderPatienceMs,
      trace: span.trace,
    })
    const first = encodeEvent('process', { id: processOf(output) })
    const end = span.hold()
    const over = (how: { exit_code: number } | AppError) => {
      if (how instanceof AppError) {
        notes.failed(how)
        return end(how)
      }
      notes.ended(how.exit_code)
      span.note({ 'portico.exit_code': how.exit_code })
      end()
    }
    return followed(call, output, { sandbox: id, translation, first, over })
  } catch (thrown) {
    notes.failed(thrown)
    throw thrown
  }
}

/** The id that the agent has given it. */
function processOf(output: Response): string {
  const id = output.headers.get('portico-process') ?? ''
  if (processIdPattern.test(id)) return id
  throw new AppError('guest_error', 'cannot stream the command: the sandbox does not say which process it is')
}
