/** A size of memory or disk on the command line: `512M`, `2G`; a bare number is MiB. */

import { InvalidArgumentError } from 'commander'

const unitMib: Readonly<Record<string, number>> = { '': 1, M: 1, G: 1024, T: 1024 * 1024 }

/** The size in MiB. */
export function size(text: string): number {
  const [, amount, unit = ''] = /^(\d+(?:\.\d+)?)([MGT]?)(?:i?B)?$/i.exec(text) ?? []
  const mib = Number(amount) * (unitMib[unit.toUpperCase()] ?? 0)
  if (!Number.isInteger(mib) || mib === 0) throw new InvalidArgumentError('A size looks like 512M or 2G.')
  return mib
}
