import { type Argument, properties } from './argument.ts'

/** A unix socket on which QEMU listens and does not wait: whoever connects, now or after a restart of the runner, takes over. */
export function socketCharacter(id: string, path: string): Argument {
  return ['-chardev', properties('socket', { id, path, server: true, wait: false })]
}
