import { type Argument, properties } from './argument.ts'

/** A name that `/proc` shows, so that a restarted runner finds what it left behind. */
export function name(guest: string): Argument {
  return ['-name', properties(undefined, { guest })]
}
