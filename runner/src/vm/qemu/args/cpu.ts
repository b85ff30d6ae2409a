import { type Argument, properties } from './argument.ts'

/**
 * The processor model: the host's own under KVM, everything that emulation knows otherwise, but for fast string moves: a guest that is promised them copies with
 * `rep movsb`, which emulation does byte by byte (100 MB through a pipe took 9 to 14 s, and 2 s without the promise).
 */
export function processor(kind: 'kvm' | 'tcg'): Argument {
  return ['-cpu', kind === 'kvm' ? 'host' : 'max,-erms,-fsrm']
}

export function processors(count: number): Argument {
  return ['-smp', properties(undefined, { cpus: count })]
}
