/**
 * Every file and socket name under the state folder, and every name inside a jail. Nothing else spells them.
 *
 *   STATE/instance                 a random name of this state folder; processes carry it in their arguments
 *   STATE/disks/                   empty scratch disks, one pair per size, shared by all machines, read-only
 *   STATE/vms/VM/state.json        what the machine is: process, slot, disk; written by atomic rename, by the runner alone
 *   STATE/vms/VM/base              the memory that it maps; its own for a cold boot, a link to a template's otherwise
 *   STATE/vms/VM/layers/           the disk's layers that are never written again: links. 0, 1, … are those that it began with, disk-N were its own
 *   STATE/vms/VM/vm/               the only folder that the machine's own user may write
 *   STATE/vms/VM/vm/disk-N         what the machine writes to its disk, the top layer
 *   STATE/vms/VM/vm/{qmp,console,agent}  sockets on which QEMU listens
 *   STATE/captures/ID/             files of a captured machine in this process's hands; wiped at start
 *   STATE/templates/KEY/           the saved state of a booted machine that is nobody's yet
 *   STATE/snapshots/ID/            the saved state of a sandbox, until somebody deletes it
 *   STATE/images/                  images from registries: `image/store.ts`
 *   STATE/sandboxes/ID/record.json what a restarted runner must know of a sandbox
 *   STATE/sandboxes/ID/saved-N/    its saved state while it is hibernated
 *   STATE/sandboxes/ID/checkpoints/CP/  its disk at one moment, until somebody deletes it
 *
 * A machine that broke out of QEMU owns its `vm` folder, links and all: the runner never follows a link in there.
 */

import { join } from 'node:path'

export interface VmPaths {
  readonly folder: string
  readonly state: string
  /** Owned by the machine's user. */
  readonly vm: string
  /** The memory that it maps. */
  readonly base: string
  /** The device state that it started from. */
  readonly incoming: string
  readonly layers: string
  /** A layer that is never written again. */
  layer(name: string): string
  /** A top layer; they are numbered, as each capture starts a new one. */
  disk(number: number): string
  /** Where QEMU leaves the state of its devices. */
  readonly device: string
  readonly qmp: string
  readonly console: string
  readonly agent: string
}

export interface CapturePaths {
  readonly folder: string
  readonly base: string
  readonly device: string
  readonly pages: string
  layer(number: number): string
}

export interface SandboxPaths {
  readonly folder: string
  readonly record: string
  /** A hibernated state; they are numbered, so that the next one never stands in the way of the last. */
  saved(number: number): string
  readonly checkpoints: string
  checkpoint(id: string): string
}

export interface StatePaths {
  readonly root: string
  readonly instance: string
  readonly disks: string
  readonly vms: string
  readonly captures: string
  readonly templates: string
  readonly snapshots: string
  readonly sandboxes: string
  readonly images: string
  vm(id: string): VmPaths
  capture(id: string): CapturePaths
  template(key: string): string
  snapshot(id: string): string
  sandbox(id: string): SandboxPaths
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
    captures: join(root, 'captures'),
    templates: join(root, 'templates'),
    snapshots: join(root, 'snapshots'),
    sandboxes: join(root, 'sandboxes'),
    images: join(root, 'images'),
    vm(id) {
      const folder = join(vms, id)
      const vm = join(folder, 'vm')
      return {
        folder,
        state: join(folder, 'state.json'),
        vm,
        base: join(folder, 'base'),
        incoming: join(folder, 'incoming'),
        layers: join(folder, 'layers'),
        layer: (name) => join(folder, 'layers', name),
        disk: (number) => join(vm, diskName(number)),
        device: join(vm, deviceName),
        qmp: join(vm, socketNames.qmp),
        console: join(vm, socketNames.console),
        agent: join(vm, socketNames.agent),
      }
    },
    capture(id) {
      const folder = join(root, 'captures', id)
      return {
        folder,
        base: join(folder, 'base'),
        device: join(folder, 'device'),
        pages: join(folder, 'pages'),
        layer: (number) => join(folder, `layer-${number}`),
      }
    },
    template: (key) => join(root, 'templates', key),
    snapshot: (id) => join(root, 'snapshots', id),
    sandbox(id) {
      const folder = join(root, 'sandboxes', id)
      const checkpoints = join(folder, 'checkpoints')
      return {
        folder,
        record: join(folder, 'record.json'),
        saved: (number) => join(folder, `saved-${number}`),
        checkpoints,
        checkpoint: (checkpoint) => join(checkpoints, checkpoint),
      }
    },
    disk(sizeMib) {
      return { raw: join(disks, `ext4-${sizeMib}.raw`), overlay: join(disks, `ext4-${sizeMib}.qcow2`) }
    },
  }
}

/** Of a top layer, and of the layer that it becomes. */
export const diskName = (number: number) => `disk-${number}`
const deviceName = 'device'
const socketNames = { qmp: 'qmp', console: 'console', agent: 'agent' } as const

/** What QEMU sees inside its jail. */
export const jailPaths = {
  /** A file system of its own in memory, made read-only once the names below are in place. */
  mounts: '/run',
  vm: '/run/vm',
  disk: (number: number) => `/run/vm/${diskName(number)}`,
  /** Written by a capture. */
  device: `/run/vm/${deviceName}`,
  /** The layers below its own. */
  layer: (name: string) => `/run/layer-${name}`,
  memory: '/run/memory',
  /** The device state that it starts from. */
  incoming: '/run/incoming',
  qmp: `/run/vm/${socketNames.qmp}`,
  console: `/run/vm/${socketNames.console}`,
  agent: `/run/vm/${socketNames.agent}`,
  kernel: '/run/kernel',
  initramfs: '/run/initramfs',
  image: '/run/image',
} as const
