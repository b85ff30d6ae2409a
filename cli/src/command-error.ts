/** What goes wrong on this side of the API: a line for the user, and what to do. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  readonly hint: string | undefined

  constructor(message: string, hint?: string) {
    super(message)
    this.hint = hint
  }
}
