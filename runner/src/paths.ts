/**
 * Every file and socket name under the state folder, and every name inside a jail. Nothing else spells them.
 *
 *   STATE/instance                 a random name of this state folder; processes carry it in their arguments
 *   STATE/disks/                   empty scratch disks, one pair per size, shared by all machines, read-only
 *   STATE/vms/ID/state.json        what the machine is: process, slot, generation; written by atomic rename, by the runner alone
 *   STATE/vms/ID/vm/               the only folder that the machine's own user may write
 *   STATE/vms/ID/vm/scratch.qcow2  what the machine wrote to its disk
 *   STATE/vms/ID/vm/{qmp,console,agent}  sockets on which QEMU listens
 *
 * A machine that broke out of QEMU owns its `vm` folder, links and all: the runner never follows a link in there.
 */

import { join } from 'node:path'

export interface VmPaths {
  readonly folder: string
  readonly state: string
  /** Owned by the machine's user. */
  readonly vm: string
  readonly scratch: string
  readonly qmp: string
  readonly console: string
  readonly agent: string
}

export interface StatePaths {
  readonly root: string
  readonly instance: string
  readonly disks: string
  readonly vms: string
  vm(id: string): VmPaths
  /** The empty scratch disk of a size: the raw file system, and an overlay on it without content. */
  disk(sizeMib: number): { readonly raw: string; readonly overlay: string }
}

export function statePaths(root: string): StatePaths {
  const vms = join(root, 'vms')
  const disks = join(root, 'disks')
  return {
    root,
    instance: join(root, 'instance'),
    disks,
    vms,
    vm(id) {
      const folder = join(vms, id)
      const vm = join(folder, 'vm')
      return {
        folder,
        state: join(folder, 'state.json'),
        vm,
        scratch: join(vm, 'scratch.qcow2'),
        qmp: join(vm, socketNames.qmp),
        console: join(vm, socketNames.console),
        agent: join(vm, socketNames.agent),
      }
    },
    disk(sizeMib) {
      return { raw: join(disks, `ext4-${sizeMib}.raw`), overlay: join(disks, `ext4-${sizeMib}.qcow2`) }
    },
  }
}

const socketNames = { qmp: 'qmp', console: 'console', agent: 'agent' } as const

/** What QEMU sees inside its jail. */
export const jailPaths = {
  /** A file system of its own in memory, made read-only once the names below are in place. */
  mounts: '/run',
  vm: '/run/vm',
  scratch: '/run/vm/scratch.qcow2',
  qmp: `/run/vm/${socketNames.qmp}`,
  console: `/run/vm/${socketNames.console}`,
  agent: `/run/vm/${socketNames.agent}`,
  kernel: '/run/kernel',
  initramfs: '/run/initramfs',
  image: '/run/image',
  base: '/run/base',
} as const
