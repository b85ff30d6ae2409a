import { type Argument, properties } from './argument.ts'

/** QEMU's minimal machine: no PCI, no option ROMs (which needs the small firmware), a serial port, a clock. */
export function machine(memory: string): Argument[] {
  return [
    [
      '-M',
      properties('microvm', {
        'x-option-roms': false,
        'isa-serial': true,
        rtc: true,
        'suppress-vmdesc': true,
        'memory-backend': memory,
      }),
    ],
    ['-bios', 'qboot.rom'],
  ]
}

/** Nothing that was not asked for: no default devices, no configuration files, no window. A reboot of the guest ends QEMU. */
export function nothingElse(): Argument[] {
  return [['-nodefaults'], ['-no-user-config'], ['-display', 'none'], ['-no-reboot']]
}

/** Everything is set up and the processors wait for `cont`: the runner connects before the guest's first instruction. */
export function startPaused(): Argument {
  return ['-S']
}

/** Waits for the state of another machine's devices, to be named later. The file holds devices alone, and their configuration is this command line's. */
export function waitForState(): Argument[] {
  return [
    ['-incoming', 'defer'],
    ['-global', 'migration.send-configuration=off'],
  ]
}
