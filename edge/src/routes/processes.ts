/** `/v1/runs/{id}/processes…`: commands that run on by themselves. The sandbox's agent keeps them and their output; here calls find it and answers are checked. */

import {
  type ProcessList,
  type ProcessRecord,
  processList,
  type SignalRequest,
  type SpawnRequest,
  type StdinResponse,
  type TerminalSize,
} from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { recordsType } from '@portico/shared/process-records'
import { noteCall } from '../audit/calls.ts'
import { assertScope } from '../auth/scopes.ts'
import type { Call, KeyCall } from '../call.ts'
import { callGuest } from '../guest/call-guest.ts'
import { AsEvents } from '../process/as-events.ts'
import { askGuest, askProcess, readProcess, waitMs } from '../process/ask.ts'
import { spawnCommand } from '../process/command.ts'
import { followed, outputHeaders } from '../process/follow.ts'
import { flagOf, holderPatienceMs, outputQuery, processIdPattern, wholeNumber } from '../process/output-query.ts'
import { startProcess } from '../process/start.ts'
import { asRecords } from '../process/translation.ts'
import { sandboxOf } from './runs.ts'

const maxWaitSeconds = 60
/** A caller may type its process's input, and the process may take its time to read it. */
const stdinPatienceMs = 3_600_000

/** `POST /v1/runs/{id}/processes` */
export function spawn(call: Call<'key', SpawnRequest>): Promise<Response> {
  return startProcess(call, sandboxOf(call).id, call.body.command, spawnCommand(call.body))
}

/** `GET /v1/runs/{id}/processes` */
export async function listProcesses(call: KeyCall): Promise<Response> {
  const { id } = sandboxOf(call)
  const listed = await askGuest(call, id, { method: 'GET', path: '/processes' }, processList)
  return Response.json(listed satisfies ProcessList)
}

/** `GET /v1/runs/{id}/processes/{process}` */
export async function readOneProcess(call: KeyCall): Promise<Response> {
  const { sandbox, query } = processOf(call)
  return shown(await askProcess(call, sandbox, { method: 'GET', path: `/processes/status?${query}` }))
}

/** `DELETE /v1/runs/{id}/processes/{process}`: ends it if it runs, and forgets it. */
export async function deleteProcess(call: KeyCall): Promise<Response> {
  const { sandbox, process, query } = processOf(call)
  const record = await askProcess(call, sandbox, { method: 'DELETE', path: `/processes?${query}` })
  noteCall(call, sandbox, 'process.deleted', { process })
  return shown(record)
}

/** `GET /v1/runs/{id}/processes/{process}/output` */
export async function readOutput(call: KeyCall): Promise<Response> {
  const { sandbox, process, query } = processOf(call)
  const { from, follow, hold, events } = outputQuery(call.url.searchParams, call.request.headers)
  if (hold && call.scope !== null) assertScope(call.scope, 'use')
  const translation = events === undefined ? asRecords : new AsEvents(events, call.requestId)
  const isHead = call.request.method === 'HEAD'
  let until: number | undefined
  if (!follow || isHead) {
    const status = { method: 'GET', path: `/processes/status?${query}` } as const
    const { state, output_end } = await askProcess(call, sandbox, status)
    if (state === 'running') until = output_end
    if (isHead || (until !== undefined && from >= until)) {
      return new Response(isHead ? null : '', { headers: outputHeaders(translation.contentType) })
    }
  }
  const wanted = new URLSearchParams({ id: process, from: String(from), ...(hold ? { hold: '1' } : {}) })
  const path = `/processes/output?${wanted}`
  const output = await callGuest(call, sandbox, { method: 'GET', path, waitMs, patienceMs: holderPatienceMs })
  // Passed on as they are, no byte of them is touched here.
  if (translation === asRecords && until === undefined) {
    return new Response(output.body, { headers: outputHeaders(recordsType) })
  }
  return followed(call, output, { sandbox, translation, ...(until === undefined ? {} : { until }) })
}

/** `POST /v1/runs/{id}/processes/{process}/stdin?at=&close=`: the body, as it comes. */
export async function writeStdin(call: KeyCall): Promise<Response> {
  const { sandbox, process } = processOf(call)
  const { body } = call.request
  const asked = call.url.searchParams
  const at = asked.get('at')
  const wanted = new URLSearchParams({
    id: process,
    ...(at === null ? {} : { at: String(wholeNumber(at, 'at')) }),
    ...(flagOf(asked, 'close', false) ? { close: '1' } : {}),
  })
  const length = body === null ? '0' : call.request.headers.get('content-length')
  const headers = {
    'content-type': 'application/octet-stream',
    ...(length === null ? {} : { 'content-length': length }),
  }
  const path = `/processes/stdin?${wanted}`
  const answer = await callGuest(call, sandbox, { method: 'POST', path, headers, body, waitMs: stdinPatienceMs })
  const { stdin_end } = await readProcess(answer)
  return Response.json({ stdin_end } satisfies StdinResponse)
}

/** `POST /v1/runs/{id}/processes/{process}/signal` */
export async function signalProcess(call: Call<'key', SignalRequest>): Promise<Response> {
  const { sandbox, process, query } = processOf(call)
  const { signal } = call.body
  const asked = { method: 'POST', path: `/processes/signal?${query}`, json: { signal } } as const
  const record = await askProcess(call, sandbox, asked)
  noteCall(call, sandbox, 'process.signalled', { process, signal })
  return shown(record)
}

/** `POST /v1/runs/{id}/processes/{process}/resize` */
export async function resizeProcess(call: Call<'key', TerminalSize>): Promise<Response> {
  const { sandbox, query } = processOf(call)
  const { cols, rows } = call.body
  return shown(
    await askProcess(call, sandbox, { method: 'POST', path: `/processes/resize?${query}`, json: { cols, rows } }),
  )
}

/** `GET /v1/runs/{id}/processes/{process}/wait?timeout=`: once it has ended, or as it is when the time is over. */
export async function waitForProcess(call: KeyCall): Promise<Response> {
  const { sandbox, process } = processOf(call)
  const ms = Math.ceil(waitSeconds(call.url.searchParams.get('timeout')) * 1000)
  const wanted = new URLSearchParams({ id: process, timeout_ms: String(ms) })
  const path = `/processes/wait?${wanted}`
  return shown(await askProcess(call, sandbox, { method: 'GET', path, waitMs: waitMs + ms }))
}

function waitSeconds(text: string | null): number {
  if (text === null) return maxWaitSeconds
  const seconds = Number(text)
  if (/^\d{1,5}(\.\d{1,6})?$/.test(text) && seconds <= maxWaitSeconds) return seconds
  throw new AppError('invalid_request', `cannot use timeout: it is 0 to ${maxWaitSeconds} seconds`)
}

interface Named {
  readonly sandbox: string
  readonly process: string
  /** Names it to the agent. */
  readonly query: URLSearchParams
}

function processOf(call: KeyCall): Named {
  const process = call.parameter('process')
  if (!processIdPattern.test(process)) {
    throw new AppError('not_found', 'cannot find the process: there is none with this id')
  }
  return { sandbox: sandboxOf(call).id, process, query: new URLSearchParams({ id: process }) }
}

function shown(record: ProcessRecord): Response {
  return Response.json(record)
}
