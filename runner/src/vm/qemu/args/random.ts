import { type Argument, properties } from './argument.ts'

/** A source of random numbers for the guest, filled by QEMU itself: it needs no device node. */
export function randomDevice(id: string): Argument[] {
  return [
    ['-object', properties('rng-builtin', { id })],
    ['-device', properties('virtio-rng-device', { rng: id })],
  ]
}
