/** A whole number on the command line, 1 or more. */

import { InvalidArgumentError } from 'commander'

export function count(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new InvalidArgumentError('Give a whole number, 1 or more.')
  return Number(text)
}
