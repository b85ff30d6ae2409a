import { InvalidArgumentError } from 'commander'

/** A place in an output, in bytes. */
export function offset(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('An offset is a whole number of bytes.')
  return Number(text)
}
