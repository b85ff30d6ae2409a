/** Environment variables as iii takes them: a list of `NAME=value`, or an object. */

import { z } from 'zod'
import { Fault } from '../errors.ts'

export const variables = z.union([z.array(z.string()), z.record(z.string(), z.string())]).nullish()

/** By name; the last of two counts. S001 for what is none: its place is told, never its text, which may be a secret. */
export function variablesOf(given: z.output<typeof variables>): Record<string, string> {
  const pairs = Array.isArray(given) ? given.map(split) : Object.entries(given ?? {})
  for (const [at, [name]] of pairs.entries()) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      throw new Fault('S001', `env: the name of entry ${at + 1} must have letters, digits and _ alone`)
    }
  }
  return Object.fromEntries(pairs)
}

function split(entry: string, at: number): [string, string] {
  const end = entry.indexOf('=')
  if (end >= 0) return [entry.slice(0, end), entry.slice(end + 1)]
  throw new Fault('S001', `env: entry ${at + 1} is not NAME=value`)
}
