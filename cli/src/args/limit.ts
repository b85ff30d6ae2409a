/** A limit on the command line: a whole number, or `none`. */

import { InvalidArgumentError } from 'commander'
import { size } from './size.ts'

/** A limit, or that there is none. Commander keeps no null. */
export type Limit = number | 'none'

export function limit(text: string): Limit {
  if (text === 'none') return text
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('Give a whole number, or none.')
  return Number(text)
}

/** Of memory, in MiB. */
export function sizeLimit(text: string): Limit {
  return text === 'none' ? text : size(text)
}
