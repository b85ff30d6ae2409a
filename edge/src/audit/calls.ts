/**
 * What calls into a sandbox leave in its audit log: never output, never environment. A note goes out after the answer, so no caller waits
 * for it; of a command that takes longer, its start is noted while it runs.
 */

import type { ExecRequest } from '@portico/shared/api'
import { AppError, type ErrorCode } from '@portico/shared/errors'
import type { KeyCall } from '../call.ts'
import { inBackground } from '../durable/background.ts'
import type { AuditNote } from '../ports.ts'

/** A command that is done by then is one call of the sandbox's object, not two. */
const togetherMs = 100

type Command = ExecRequest['command']

/** Notes about one command, from just before it is sent. */
export class ExecNotes {
  readonly #call: KeyCall
  readonly #sandbox: string
  readonly #command: Command
  readonly #start: number
  readonly #timer: ReturnType<typeof setTimeout>
  #begun = false

  constructor(call: KeyCall, sandbox: string, command: Command) {
    this.#call = call
    this.#sandbox = sandbox
    this.#command = command
    this.#start = call.services.clock.now()
    this.#timer = setTimeout(() => {
      this.#begun = true
      inBackground('note a command', this.#send([this.#started()]))
    }, togetherMs)
  }

  /** It ended; null is an exit code that nobody could read. */
  ended(exitCode: number | null): void {
    this.#finish({ exit_code: exitCode })
  }

  /** The call failed. Where it never reached the sandbox there was no command. */
  failed(thrown: unknown): void {
    const { code } = AppError.from(thrown)
    if (!this.#begun && neverSent.includes(code)) clearTimeout(this.#timer)
    else this.#finish({ exit_code: null, error: code })
  }

  #finish(outcome: Record<string, unknown>): void {
    clearTimeout(this.#timer)
    const at = this.#call.services.clock.now()
    const data = { command: this.#command, ...outcome, duration_ms: at - this.#start }
    const exit = { event: 'exec.exit', at, data }
    inBackground('note a command', this.#send(this.#begun ? [exit] : [this.#started(), exit]))
  }

  #started(): AuditNote {
    return { event: 'exec.start', at: this.#start, data: { command: this.#command } }
  }

  #send(notes: readonly AuditNote[]): Promise<void> {
    return send(this.#call, this.#sandbox, notes)
  }
}

/** These are told of a call before anything of it left the front door. */
const neverSent: readonly ErrorCode[] = [
  'sandbox_not_found',
  'sandbox_not_running',
  'sandbox_hibernated',
  'sandbox_failed',
  'sandbox_unreachable',
  'sandbox_lost',
  'moved',
]

/** Notes one thing that happened now. */
export function noteCall(call: KeyCall, sandbox: string, event: string, data: AuditNote['data']): void {
  inBackground('note a call', send(call, sandbox, [{ event, at: call.services.clock.now(), data }]))
}

function send({ objects, principal, services }: KeyCall, sandbox: string, notes: readonly AuditNote[]): Promise<void> {
  return services.mail.post(objects, principal, sandbox, notes)
}
