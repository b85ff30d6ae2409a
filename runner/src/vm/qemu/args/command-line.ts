/** The whole command line of one machine, from its parts. */

import { jailPaths } from '../../../paths.ts'
import { accelerator, kvmDescriptor } from './accelerator.ts'
import type { Argument } from './argument.ts'
import { readOnlyDisk, readOnlyLayer, topLayer, virtioDisk } from './block.ts'
import { socketCharacter } from './character.ts'
import { serialConsole } from './console.ts'
import { processor, processors } from './cpu.ts'
import { name } from './identity.ts'
import { kernel } from './kernel.ts'
import { machine, nothingElse, startPaused, waitForState } from './machine.ts'
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
  /** `boot`: its memory is a file of its own. `restore`: it maps another machine's and waits for the state of its devices. */
  readonly start: 'boot' | 'restore'
  /** Its agent waits for the host's word before it looks at its disks. */
  readonly waits?: boolean
  /** Formats of the disk's layers below its own, bottom first; the lowest is raw. */
  readonly layers: readonly ('raw' | 'qcow2')[]
}

/** By these serial numbers and this port name the guest's agent finds its devices. */
export const guestNames = { image: 'image', scratch: 'scratch', port: 'portico.agent' } as const

/** Names of the block layer's nodes. */
export const nodes = {
  layer: (number: number) => `layer-${number}`,
  disk: (number: number) => `disk-${number}`,
} as const

/** QEMU's arguments, without the program's name. Every path is one inside the jail. */
export function commandLine(options: CommandLineOptions): string[] {
  const { accelerator: kind, tscKhz, waits = false } = options
  const all: Argument[] = [
    name(options.name),
    seccomp(),
    ...nothingElse(),
    startPaused(),
    ...(options.start === 'restore' ? waitForState() : []),
    ...(options.kvmDescriptor === undefined ? [] : [kvmDescriptor(options.kvmDescriptor)]),
    accelerator({ kind, vcpus: options.vcpus }),
    ...machine('mem'),
    processor(kind),
    processors(options.vcpus),
    ...memory('mem', {
      file: jailPaths.memory,
      sizeMib: options.memoryMib,
      use: options.start === 'boot' ? 'own' : 'shared',
    }),
    ...kernel({ kernel: jailPaths.kernel, initramfs: jailPaths.initramfs, accelerator: kind, tscKhz, waits }),
    socketCharacter('qmp', jailPaths.qmp),
    monitor('qmp'),
    socketCharacter('console', jailPaths.console),
    serialConsole('console'),
    readOnlyDisk('image', jailPaths.image),
    virtioDisk('image', guestNames.image),
    ...options.layers.flatMap((format, number) => layer(format, number)),
    ...topLayer(nodes.disk(0), jailPaths.disk(0), nodes.layer(options.layers.length - 1)),
    virtioDisk(nodes.disk(0), guestNames.scratch),
    serialBus('ports'),
    socketCharacter('agent', jailPaths.agent),
    serialPort('ports', 'agent', guestNames.port),
    ...randomDevice('random'),
  ]
  return all.flatMap(([flag, value]) => (value === undefined ? [flag] : [flag, value]))
}

function layer(format: 'raw' | 'qcow2', number: number): Argument[] {
  const file = jailPaths.layer(String(number))
  if (format === 'raw') return [readOnlyDisk(nodes.layer(number), file)]
  return readOnlyLayer(nodes.layer(number), file, nodes.layer(number - 1))
}
