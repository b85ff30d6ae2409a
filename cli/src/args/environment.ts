/** Variables on the command line: `-e NAME=VALUE`, or `-e NAME` to hand over our own, any number of times. */

import { InvalidArgumentError } from 'commander'

export type Variables = Readonly<Record<string, string>>

/** The variables so far and one more. */
export function variable(text: string, before: Variables = {}): Variables {
  const [, name = '', , value] = /^([A-Za-z_][A-Za-z0-9_]*)(=(.*))?$/s.exec(text) ?? []
  if (name === '') throw new InvalidArgumentError('A variable looks like NAME=VALUE.')
  const given = value ?? process.env[name]
  if (given === undefined) throw new InvalidArgumentError(`${name} is not set here; give it as ${name}=VALUE.`)
  return { ...before, [name]: given }
}
