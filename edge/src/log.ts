/** Log lines: one JSON object each. Only what is named here is written; headers, bodies and keys never are. */

import type { AppError } from '@portico/shared/errors'

export interface OperationLine {
  readonly request_id: string
  readonly method: string
  /** The row's pattern, not the path, which may hold file names. */
  readonly route: string
  readonly status: number
  readonly ms: number
  readonly code?: string | undefined
  readonly account?: string | undefined
  readonly region?: string | undefined
  readonly sandbox?: string | undefined
  readonly runner?: string | undefined
}

/** One finished operation. */
export function logOperation(line: OperationLine): void {
  console.log(JSON.stringify({ event: 'request', ...line }))
}

/** A failure of ours, with the cause that no caller sees. */
export function logFailure(what: string, error: AppError): void {
  console.error(
    JSON.stringify({ event: 'failure', what, code: error.code, message: error.message, cause: causes(error) }),
  )
}

function causes(error: Error): string[] {
  const lines: string[] = []
  for (let cause: unknown = error.cause; cause !== undefined && lines.length < 4; ) {
    lines.push(cause instanceof Error ? (cause.stack ?? cause.message) : String(cause))
    cause = cause instanceof Error ? cause.cause : undefined
  }
  return lines
}
