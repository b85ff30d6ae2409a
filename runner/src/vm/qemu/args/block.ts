/** Disks: the back ends are nodes of QEMU's block layer, the front end is a virtio device whose serial number tells the guest which disk it is. */

import { type Argument, properties } from './argument.ts'

/** A raw file that nobody writes. */
export function readOnlyDisk(node: string, file: string): Argument {
  return blockdev({ driver: 'file', 'node-name': node, filename: file, 'read-only': true })
}

/** An overlay that this machine alone writes, on a node that it does not. */
export function overlayDisk(node: string, file: string, backing: string): Argument[] {
  return [
    blockdev({ driver: 'file', 'node-name': `${node}-file`, filename: file, discard: 'unmap', ...noFlush }),
    blockdev({ driver: 'qcow2', 'node-name': node, file: `${node}-file`, backing, discard: 'unmap', ...noFlush }),
  ]
}

/** What the guest sees of a node. */
export function virtioDisk(node: string, serial: string): Argument {
  return ['-device', properties('virtio-blk-device', { drive: node, serial })]
}

/** A scratch disk does not outlive a crash of its host, so the guest's flushes need not wait for the host's disk. */
const noFlush = { 'cache.no-flush': true }

function blockdev(values: Record<string, string | boolean>): Argument {
  return ['-blockdev', properties(undefined, values)]
}
