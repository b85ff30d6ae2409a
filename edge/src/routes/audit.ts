/**
 * `GET /v1/runs/{id}/audit`: a sandbox's audit log as NDJSON, as it was when the answer began. How many lines there are and the seal of the
 * last one stand in the headers, as no chain can tell that its end is missing.
 */

import type { AuditKey } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import type { KeyCall } from '../call.ts'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import type { AuditPage } from '../ports.ts'
import { sandboxOf } from './runs.ts'

/** `GET /v1/runs/{id}/audit?from=SEQ` */
export async function readAudit(call: KeyCall): Promise<Response> {
  const { sandbox } = sandboxOf(call)
  const from = fromOf(call.url)
  await reach('read the audit log', call.services.mail.send(call.objects, call.principal, call.parameter('id')))
  const page = async (at: number) => unwrap(await reach('read the audit log', sandbox.audit(call.principal, at)))
  const first = await page(from)
  const headers = {
    'content-type': 'application/x-ndjson',
    'portico-audit-entries': String(first.entries),
    ...(first.last === null ? {} : { 'portico-audit-last': first.last }),
  }
  const body = call.request.method === 'HEAD' ? null : streamOf(chunks(first, from, page))
  return new Response(body, { headers })
}

/** `GET /v1/audit/key` */
export async function readAuditKey({ objects, principal }: KeyCall): Promise<Response> {
  const key = unwrap(await reach('read the audit key', objects.account(principal.account).auditKey()))
  return Response.json({ algorithm: 'HMAC-SHA256', key } satisfies AuditKey)
}

async function* chunks(
  first: AuditPage,
  from: number,
  read: (at: number) => Promise<AuditPage>,
): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder()
  let left = first.entries - from
  for (let page = first; left > 0 && page.lines.length > 0; page = await read(page.next ?? 0)) {
    const lines = page.lines.slice(0, left)
    left -= lines.length
    yield encoder.encode(lines.map((line) => `${line}\n`).join(''))
    if (page.next === null) return
  }
}

/** A page is read when the caller has taken the one before. */
function streamOf(parts: AsyncGenerator<Uint8Array>): ReadableStream<Uint8Array> {
  return new ReadableStream({
    pull: async (controller) => {
      const { value, done } = await parts.next()
      if (done) controller.close()
      else controller.enqueue(value)
    },
    cancel: async () => void (await parts.return(undefined)),
  })
}

function fromOf(url: URL): number {
  const text = url.searchParams.get('from') ?? '0'
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new AppError('invalid_request', 'cannot read the audit log: from is the number of an entry')
}
