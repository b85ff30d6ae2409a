import { InvalidArgumentError } from 'commander'

/** A port. */
export function port(text: string): number {
  const number = Number(text)
  if (!/^\d{1,5}$/.test(text) || number < 1 || number > 65_535)
    throw new InvalidArgumentError('A port is a number from 1 to 65535.')
  return number
}
