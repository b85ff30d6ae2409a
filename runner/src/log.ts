/**
 * Log lines: JSON on standard error, one per finished operation, with its outcome, ids and milliseconds. Errors are reduced here, in one place, to
 * code, message and the chain of causes; secrets are removed by field name.
 */

import { AppError } from '@portico/shared/errors'
import { destination, type Logger, pino } from 'pino'

export type { Logger } from 'pino'

const secretFields = ['token', 'env', 'authorization', 'headers', '*.token', '*.env', '*.authorization', '*.headers']

/** A logger that writes at once to standard error: nothing is lost when the process ends. */
export function createLog(level: string): Logger {
  return pino(
    {
      level,
      base: null,
      messageKey: 'event',
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: secretFields, censor: '…' },
      serializers: { error: describeError },
    },
    destination({ dest: 2, sync: true }),
  )
}

/** A logger that says nothing. */
export function silentLog(): Logger {
  return pino({ level: 'silent' })
}

/** Runs one operation and writes its line: `event` with `outcome` `ok` or the error's code. The operation may add fields to `facts`. */
export async function logged<Value>(
  log: Logger,
  event: string,
  facts: Record<string, unknown>,
  run: () => Promise<Value>,
): Promise<Value> {
  const start = performance.now()
  try {
    const value = await run()
    log.info({ ...facts, outcome: 'ok', ms: since(start) }, event)
    return value
  } catch (thrown) {
    const error = AppError.from(thrown)
    const line = { ...facts, outcome: error.code, ms: since(start), error: thrown }
    if (error.code === 'internal') log.error(line, event)
    else log.warn(line, event)
    throw thrown
  }
}

const maxCauses = 5
const maxText = 1000

/** An error as fields of a log line. */
export function describeError(error: unknown): unknown {
  const causes: string[] = []
  let cause: unknown = error instanceof Error ? error.cause : undefined
  for (; cause !== undefined && causes.length < maxCauses; cause = cause instanceof Error ? cause.cause : undefined)
    causes.push(oneLine(cause))
  const code = error instanceof AppError ? { code: error.code } : {}
  return { ...code, message: oneLine(error), ...(causes.length > 0 ? { causes } : {}) }
}

function oneLine(value: unknown): string {
  const text = value instanceof Error ? value.message : String(value)
  return text.replaceAll(/\s+/g, ' ').slice(0, maxText)
}

function since(start: number): number {
  return Math.round((performance.now() - start) * 10) / 10
}
