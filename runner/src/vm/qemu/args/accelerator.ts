import { type Argument, properties } from './argument.ts'

export interface AcceleratorOptions {
  readonly kind: 'kvm' | 'tcg'
  readonly vcpus: number
}

/** The descriptor set through which QEMU gets `/dev/kvm`: the jail holds no such node. */
export const kvmDescriptorSet = 1

/** What runs the guest's instructions. Emulation uses a host thread per processor only where there is more than one. */
export function accelerator({ kind, vcpus }: AcceleratorOptions): Argument {
  if (kind === 'kvm') return ['-accel', properties('kvm', { device: `/dev/fdset/${kvmDescriptorSet}` })]
  return ['-accel', properties('tcg', { thread: vcpus > 1 ? 'multi' : 'single', 'tb-size': translationCacheMib })]
}

/** Room for translated guest code. It fills as code runs and is then emptied at once; the default of 1 GiB would let every machine grow to that. */
export const translationCacheMib = 128

/** Hands an open descriptor of `/dev/kvm` over. */
export function kvmDescriptor(descriptor: number): Argument {
  return ['-add-fd', properties(undefined, { fd: descriptor, set: kvmDescriptorSet })]
}
