/** Reads the headers of a tar as Go's archive/tar does, which unpacks it afterwards: what the two read differently could hide an entry. */

/** Why a layer is refused; `kind` says which error a caller sees. */
export class TarRefused extends Error {
  readonly kind: 'escape' | 'damaged' | 'too-large' | 'no-space'

  constructor(kind: TarRefused['kind'], message: string) {
    super(message)
    this.kind = kind
  }
}

export const block = 512
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** Records of a pax header: `LENGTH KEY=VALUE\n`. */
export function* records(bytes: Uint8Array): Generator<[string, string]> {
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at)
    const length = space === -1 ? Number.NaN : decimal(decoder.decode(bytes.subarray(at, space)))
    const equals = bytes.indexOf(0x3d, space)
    if (!(length > space - at + 1) || at + length > bytes.length || equals === -1 || equals >= at + length)
      throw new TarRefused('damaged', 'a layer has a broken header')
    yield [
      decoder.decode(bytes.subarray(space + 1, equals)),
      decoder.decode(bytes.subarray(equals + 1, at + length - 1)),
    ]
    at += length
  }
}

export function nameOf(header: Uint8Array): string {
  const name = text(header.subarray(0, 100))
  const isUstar = decoder.decode(header.subarray(257, 263)) === 'ustar\0'
  const prefix = isUstar ? text(header.subarray(345, 500)) : ''
  return prefix === '' ? name : `${prefix}/${name}`
}

export function text(field: Uint8Array): string {
  const end = field.indexOf(0)
  return decoder.decode(end === -1 ? field : field.subarray(0, end))
}

export function decimal(digits: string): number {
  const value = /^[0-9]{1,16}$/.test(digits) ? Number(digits) : Number.NaN
  if (!Number.isSafeInteger(value)) throw new TarRefused('damaged', 'a layer has a broken header')
  return value
}

/** Octal digits, or base 256 where the first bit is set. */
export function numberOf(field: Uint8Array): number {
  const first = field[0] ?? 0
  let value = 0
  if ((first & 0x80) !== 0) {
    value = first & 0x3f
    if ((first & 0x40) !== 0) value = Number.NaN
    for (const byte of field.subarray(1)) value = value * 256 + byte
  } else {
    const digits =
      decoder
        .decode(field)
        .replace(/^[ \0]+/, '')
        .split('\0', 1)[0]
        ?.trim() ?? ''
    if (!/^[0-7]*$/.test(digits)) value = Number.NaN
    else if (digits !== '') value = Number.parseInt(digits, 8)
  }
  if (!Number.isSafeInteger(value)) throw new TarRefused('damaged', 'a layer has a broken header')
  return value
}

export function sumHolds(header: Uint8Array): boolean {
  let unsigned = 0
  let signed = 0
  for (let at = 0; at < block; at++) {
    const byte = at >= 148 && at < 156 ? 0x20 : (header[at] ?? 0)
    unsigned += byte
    signed += byte > 127 ? byte - 256 : byte
  }
  const said = numberOf(header.subarray(148, 156))
  return said === unsigned || said === signed
}

export function padding(size: number): number {
  return (block - (size % block)) % block
}
