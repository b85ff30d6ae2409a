/** What can be run in a sandbox. */

/**
 * A line for the shell; a program and its arguments, which no shell reads; or what the sandbox's image runs by itself, with these arguments in place of
 * those that its author gave it.
 */
export type GuestCommand = string | readonly string[] | Entrypoint

interface Entrypoint {
  readonly entrypoint: true
  readonly args?: readonly string[] | undefined
}

/** @internal As it stands in a request. */
export function commandFields(command: GuestCommand): Record<string, unknown> {
  if (typeof command === 'string' || isWords(command)) return { command }
  return { entrypoint: true, args: command.args }
}

function isWords(command: readonly string[] | Entrypoint): command is readonly string[] {
  return Array.isArray(command)
}
