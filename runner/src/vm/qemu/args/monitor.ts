import { type Argument, properties } from './argument.ts'

/** QEMU's control protocol on a character device. */
export function monitor(character: string): Argument {
  return ['-mon', properties(undefined, { chardev: character, mode: 'control' })]
}
