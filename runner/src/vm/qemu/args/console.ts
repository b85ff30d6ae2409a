import type { Argument } from './argument.ts'

/** The guest's first serial port, where kernel and agent print what goes wrong while they boot. */
export function serialConsole(character: string): Argument {
  return ['-serial', `chardev:${character}`]
}
