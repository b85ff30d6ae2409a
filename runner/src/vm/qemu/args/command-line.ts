/** The whole command line of one machine, from its parts. */

import { jailPaths } from '../../../paths.ts'
import { accelerator, kvmDescriptor } from './accelerator.ts'
import type { Argument } from './argument.ts'
import { overlayDisk, readOnlyDisk, virtioDisk } from './block.ts'
import { socketCharacter } from './character.ts'
import { serialConsole } from './console.ts'
import { processor, processors } from './cpu.ts'
import { name } from './identity.ts'
import { kernel } from './kernel.ts'
import { machine, nothingElse, startPaused } from './machine.ts'
import { memory } from './memory.ts'
import { monitor } from './monitor.ts'
import { serialBus, serialPort } from './port.ts'
import { randomDevice } from './random.ts'
import { seccomp } from './seccomp.ts'

export interface CommandLineOptions {
  readonly name: string
  readonly accelerator: 'kvm' | 'tcg'
  /** The number of `/dev/kvm`'s descriptor in QEMU's process; only under KVM. */
  readonly kvmDescriptor?: number
  readonly vcpus: number
  readonly memoryMib: number
  readonly tscKhz: number
}

/** By these serial numbers and this port name the guest's agent finds its devices. */
export const guestNames = { image: 'image', scratch: 'scratch', port: 'portico.agent' } as const

/** QEMU's arguments, without the program's name. Every path is one inside the jail. */
export function commandLine(options: CommandLineOptions): string[] {
  const kind = options.accelerator
  const all: Argument[] = [
    name(options.name),
    seccomp(),
    ...nothingElse(),
    startPaused(),
    ...(options.kvmDescriptor === undefined ? [] : [kvmDescriptor(options.kvmDescriptor)]),
    accelerator({ kind, vcpus: options.vcpus }),
    ...machine('mem'),
    processor(kind),
    processors(options.vcpus),
    ...memory('mem', options.memoryMib),
    ...kernel({ kernel: jailPaths.kernel, initramfs: jailPaths.initramfs, accelerator: kind, tscKhz: options.tscKhz }),
    socketCharacter('qmp', jailPaths.qmp),
    monitor('qmp'),
    socketCharacter('console', jailPaths.console),
    serialConsole('console'),
    readOnlyDisk('image', jailPaths.image),
    virtioDisk('image', guestNames.image),
    readOnlyDisk('base', jailPaths.base),
    ...overlayDisk('scratch', jailPaths.scratch, 'base'),
    virtioDisk('scratch', guestNames.scratch),
    serialBus('ports'),
    socketCharacter('agent', jailPaths.agent),
    serialPort('ports', 'agent', guestNames.port),
    ...randomDevice('random'),
  ]
  return all.flatMap(([flag, value]) => (value === undefined ? [flag] : [flag, value]))
}
