import { type Argument, properties } from './argument.ts'

/** The processor model: the host's own under KVM, everything that emulation knows otherwise. */
export function processor(kind: 'kvm' | 'tcg'): Argument {
  return ['-cpu', kind === 'kvm' ? 'host' : 'max']
}

export function processors(count: number): Argument {
  return ['-smp', properties(undefined, { cpus: count })]
}
