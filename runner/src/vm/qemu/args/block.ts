/** Disks: the back ends are nodes of QEMU's block layer, the front end is a virtio device whose serial number tells the guest which disk it is. */

import { type Argument, properties } from './argument.ts'

/** A raw file that nobody writes. */
export function readOnlyDisk(node: string, file: string): Argument {
  return blockdev({ driver: 'file', 'node-name': node, filename: file, 'read-only': true })
}

/** A layer of a disk that nobody writes any more, on the one below it. */
export function readOnlyLayer(node: string, file: string, backing: string): Argument[] {
  return [
    readOnlyDisk(`${node}-file`, file),
    blockdev({ driver: 'qcow2', 'node-name': node, file: `${node}-file`, backing, 'read-only': true }),
  ]
}

/** The layer that this machine alone writes, on one that it does not. */
export function topLayer(node: string, file: string, backing: string): Argument[] {
  return [
    blockdev({ driver: 'file', 'node-name': `${node}-file`, filename: file, discard: 'unmap', ...noFlush }),
    blockdev({ driver: 'qcow2', 'node-name': node, file: `${node}-file`, backing, discard: 'unmap', ...noFlush }),
  ]
}

/** The same as a command to a machine that runs, without anything below it yet. */
export function topLayerCommand(node: string, filename: string): Readonly<Record<string, unknown>> {
  const cache = { 'no-flush': true }
  const file = { driver: 'file', 'node-name': `${node}-file`, filename, discard: 'unmap', cache }
  return { driver: 'qcow2', 'node-name': node, file, backing: null, discard: 'unmap', cache }
}

/** What the guest sees of a node. */
export function virtioDisk(node: string, serial: string): Argument {
  return ['-device', properties('virtio-blk-device', { id: `${serial}-device`, drive: node, serial })]
}

/** A running machine's disk does not outlive a crash of its host, so the guest's flushes need not wait for the host's disk. */
const noFlush = { 'cache.no-flush': true }

function blockdev(values: Record<string, string | boolean>): Argument {
  return ['-blockdev', properties(undefined, values)]
}
