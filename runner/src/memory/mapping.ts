/** Where a process maps a file: `/proc/PID/maps`, read by the file's device and number, as its name is one of another mount namespace. */

import { AppError } from '@portico/shared/errors'

export interface Mapping {
  readonly address: number
  readonly bytes: number
}

const line = /^([0-9a-f]+)-([0-9a-f]+) \S+ ([0-9a-f]+) ([0-9a-f]+):([0-9a-f]+) (\d+)/

/** The one mapping of the whole file, which the kernel may show in several neighbouring parts. */
export function findMapping(maps: string, file: { dev: bigint; ino: bigint; size: bigint }): Mapping {
  let address: number | undefined
  let bytes = 0
  for (const text of maps.split('\n')) {
    const fields = line.exec(text)
    if (!fields || BigInt(fields[6] ?? '') !== file.ino || deviceOf(fields[4], fields[5]) !== file.dev) continue
    const [from, to, offset] = [fields[1], fields[2], fields[3]].map((hex) => Number.parseInt(hex ?? '', 16))
    if (from === undefined || to === undefined) continue
    address ??= from
    if (offset !== bytes || from !== address + bytes) throw unexpected()
    bytes += to - from
  }
  if (address === undefined || BigInt(bytes) !== file.size) throw unexpected()
  return { address, bytes }
}

/** Linux puts the two parts of a device's number into 64 bits so. */
function deviceOf(majorHex = '', minorHex = ''): bigint {
  const [major, minor] = [BigInt(`0x${majorHex}`), BigInt(`0x${minorHex}`)]
  return ((major & 0xfffn) << 8n) | ((major & ~0xfffn) << 32n) | (minor & 0xffn) | ((minor & ~0xffn) << 12n)
}

function unexpected(): AppError {
  return new AppError('internal', "cannot find the virtual machine's memory: it is not mapped as expected")
}
