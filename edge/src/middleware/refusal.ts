/** A refusal whose answer carries headers of its own, and where a protocol says so another status or hint than its code has. */

import { AppError, type ErrorCode } from '@portico/shared/errors'

export class Refusal extends AppError {
  readonly headers: Readonly<Record<string, string>>
  /** Undefined is the code's own. */
  readonly answeredWith: number | undefined
  readonly #hint: string | undefined

  constructor(
    code: ErrorCode,
    message: string,
    { headers, status, hint }: { headers: Readonly<Record<string, string>>; status?: number; hint?: string },
  ) {
    super(code, message)
    this.headers = headers
    this.answeredWith = status
    this.#hint = hint
  }

  override get hint(): string | undefined {
    return this.#hint ?? super.hint
  }
}
