/** Permission bits on the command line: three or four octal digits. */

import { InvalidArgumentError } from 'commander'

export function mode(text: string): number {
  if (!/^[0-7]{3,4}$/.test(text)) throw new InvalidArgumentError('A mode has three or four octal digits, such as 755.')
  return Number.parseInt(text, 8)
}
