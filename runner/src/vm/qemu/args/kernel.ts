import type { Argument } from './argument.ts'

export interface KernelOptions {
  readonly kernel: string
  readonly initramfs: string
  readonly accelerator: 'kvm' | 'tcg'
  /** The host's time stamp counter, in kHz. */
  readonly tscKhz: number
  readonly waits: boolean
}

const always = ['quiet', 'reboot=t', 'panic=-1', 'pci=off', 'console=ttyS0']

/** The guest's kernel and what it is told. */
export function kernel(options: KernelOptions): Argument[] {
  return [
    ['-kernel', options.kernel],
    ['-initrd', options.initramfs],
    ['-append', [...always, ...clockParameters(options), ...(options.waits ? ['portico.root=wait'] : [])].join(' ')],
  ]
}

/**
 * Under emulation on a busy host the kernel fails to calibrate its clock and then waits for a tick for ever, so it is told instead; and it may take the clock for
 * unstable later, and fall back to one that counts in ticks of 4 ms and loses time, so it is told to trust it.
 */
function clockParameters({ accelerator, tscKhz }: KernelOptions): string[] {
  return accelerator === 'tcg' ? [`tsc_early_khz=${tscKhz}`, 'no_timer_check', 'tsc=reliable'] : []
}
