/**
 * Errors of sandbox functions as iii tells them: an envelope with an S-code. Two tables: what each S-code means, and which of them stands for a code of ours.
 * A function throws a `Fault` for what it decides itself, or any error of the table of `shared/`; whoever answers the invocation turns both into the one form.
 */

import { AppError, type ErrorCode } from '@portico/shared/errors'

type FaultType = 'validation' | 'config' | 'internal' | 'transient' | 'execution' | 'filesystem' | 'platform'

interface FaultRow {
  readonly type: FaultType
  readonly retryable: boolean
  /** What to do about it. */
  readonly note: string
}

const codes = {
  S001: { type: 'validation', retryable: false, note: 'Correct the request.' },
  S002: { type: 'validation', retryable: false, note: 'Create a sandbox: it ended, or never existed.' },
  S003: {
    type: 'validation',
    retryable: false,
    note: 'Wait for the command that runs: one at a time in each sandbox.',
  },
  S004: { type: 'validation', retryable: false, note: 'Create a new sandbox.' },
  S100: {
    type: 'config',
    retryable: false,
    note: 'Use a name of sandbox::catalog::list, or have the operator add it.',
  },
  S101: { type: 'internal', retryable: false, note: 'The operator pulls the image first: portico images pull.' },
  S102: { type: 'transient', retryable: true, note: 'Try again, later each time.' },
  S200: { type: 'execution', retryable: false, note: 'Raise timeout_ms or split the work.' },
  S210: { type: 'validation', retryable: false, note: 'Correct the request.' },
  S211: { type: 'filesystem', retryable: false, note: 'Check the path.' },
  S212: { type: 'filesystem', retryable: false, note: 'Check what the path is: a file or a directory.' },
  S213: { type: 'filesystem', retryable: false, note: 'Remove what is there, or choose another path.' },
  S214: { type: 'filesystem', retryable: false, note: 'Empty the directory, or give recursive: true.' },
  S215: { type: 'filesystem', retryable: false, note: 'Choose a path that may be written.' },
  S216: { type: 'filesystem', retryable: false, note: 'Look at what the sandbox says of it.' },
  S217: { type: 'validation', retryable: false, note: 'Correct the pattern.' },
  S218: { type: 'transient', retryable: true, note: 'Open a new channel and try again.' },
  S219: { type: 'validation', retryable: false, note: 'This is not supported here.' },
  S300: { type: 'platform', retryable: false, note: 'Read the message; create a new sandbox.' },
  S400: { type: 'config', retryable: false, note: 'Ask for less, or have the operator raise the limit.' },
} as const satisfies Record<string, FaultRow>

export type FaultCode = keyof typeof codes

/** All S-codes, for tests that walk the table. */
export const faultCodes = Object.keys(codes) as FaultCode[]

/** What our codes are to iii; every other one is S300. */
const translations: Partial<Record<ErrorCode, FaultCode>> = {
  invalid_request: 'S001',
  invalid_json: 'S001',
  invalid_path: 'S001',
  unsupported: 'S001',
  payload_too_large: 'S001',
  sandbox_not_found: 'S002',
  image_not_allowed: 'S100',
  image_unknown: 'S100',
  image_not_installed: 'S101',
  image_pull_failed: 'S102',
  image_missing: 'S102',
  image_denied: 'S102',
  image_unsuitable: 'S102',
  image_no_space: 'S102',
  capacity: 'S400',
  quota_exceeded: 'S400',
  image_cap_exceeded: 'S400',
}

/** An error with an S-code. Its message is for a user, one line. */
export class Fault extends Error {
  override readonly name = 'Fault'
  readonly code: FaultCode
  /** A change of the payload under which the call may succeed. */
  readonly fix: Readonly<Record<string, unknown>> | null

  constructor(code: FaultCode, message: string, fix: Readonly<Record<string, unknown>> | null = null) {
    super(message.replaceAll(/\s+/g, ' ').trim())
    this.code = code
    this.fix = fix
  }

  /** Any thrown value as a fault: itself, or what its code of our table is to iii. Nothing of an unforeseen error is told. */
  static from(thrown: unknown): Fault {
    if (thrown instanceof Fault) return thrown
    const error = AppError.from(thrown)
    return new Fault(translations[error.code] ?? 'S300', error.message)
  }
}

/** The error of an answer, as the client shows it: `handler error: {…}`. */
export interface InvocationError {
  readonly code: string
  readonly message: string
}

/** The fault in the form whose message begins with `handler error:` in the client. The envelope is one line. */
export function handlerError({ code, message, fix }: Fault): InvocationError {
  const { type, retryable, note } = codes[code]
  const envelope = { type, code, message, docs_url: null, retryable, fix, fix_note: note }
  return { code: 'handler error', message: JSON.stringify(envelope) }
}
