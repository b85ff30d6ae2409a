/**
 * Looks at a layer's tar as it streams by and refuses what no honest image has: paths that lead out of the root, sparse files (a few bytes that become
 * terabytes), headers that do not add up, more than the limits say. It unpacks nothing. Runs in the jail, so it imports nothing of the runner.
 */

export interface TarLimits {
  readonly maxBytes: number
  readonly maxEntries: number
}

/** Why a layer is refused; `kind` says which error a caller sees. */
export class TarRefused extends Error {
  readonly kind: 'escape' | 'damaged' | 'too-large'

  constructor(kind: TarRefused['kind'], message: string) {
    super(message)
    this.kind = kind
  }
}

const block = 512
const maxMetaBytes = 1 << 20
/** Entries that have a header alone, whatever their size field says: links, devices, folders, pipes. */
const headerOnly = new Set(['1', '2', '3', '4', '5', '6'])
const decoder = new TextDecoder()

/** What a pax or GNU header says of the entry after it. */
interface Overrides {
  path?: string
  linkpath?: string
  size?: number
}

export class TarWalk {
  readonly #limits: TarLimits
  /** Of content, as it will lie on the disk. */
  bytes = 0
  entries = 0
  #header = new Uint8Array(block)
  #headerFill = 0
  #skip = 0
  #meta: { kind: string; parts: Uint8Array[]; left: number } | undefined
  #next: Overrides = {}
  #zeroBlocks = 0

  constructor(limits: TarLimits) {
    this.#limits = limits
  }

  /** The next bytes of the tar. */
  push(chunk: Uint8Array): void {
    let at = 0
    while (at < chunk.length) {
      if (this.#meta && this.#meta.left > 0) at += this.#collect(chunk.subarray(at))
      else if (this.#skip > 0) {
        const taken = Math.min(this.#skip, chunk.length - at)
        this.#skip -= taken
        at += taken
      } else {
        const taken = Math.min(block - this.#headerFill, chunk.length - at)
        this.#header.set(chunk.subarray(at, at + taken), this.#headerFill)
        this.#headerFill += taken
        at += taken
        if (this.#headerFill === block) {
          this.#headerFill = 0
          this.#take(this.#header)
        }
      }
    }
  }

  /** The tar is over: it must not end inside an entry. */
  end(): void {
    if (this.#skip > 0 || this.#headerFill > 0 || this.#meta) throw new TarRefused('damaged', 'a layer ends too early')
  }

  #collect(rest: Uint8Array): number {
    const meta = this.#meta
    if (!meta) return 0
    const taken = Math.min(meta.left, rest.length)
    meta.parts.push(rest.slice(0, taken))
    meta.left -= taken
    if (meta.left === 0) {
      this.#meta = undefined
      this.#readMeta(meta.kind, Buffer.concat(meta.parts))
    }
    return taken
  }

  #take(header: Uint8Array): void {
    if (header.every((byte) => byte === 0)) {
      this.#zeroBlocks += 1
      return
    }
    if (this.#zeroBlocks > 1) return
    if (this.#zeroBlocks === 1 || !sumHolds(header)) throw new TarRefused('damaged', 'a layer is no tar')
    const type = String.fromCharCode(header[156] ?? 0)
    const size = numberOf(header.subarray(124, 136))
    if (type === 'x' || type === 'g' || type === 'L' || type === 'K') this.#beginMeta(type, size)
    else this.#entry(header, type, size)
  }

  #beginMeta(kind: string, size: number): void {
    if (size > maxMetaBytes) throw new TarRefused('damaged', 'a layer has a header that is too long')
    this.#skip = padding(size)
    if (size > 0) this.#meta = { kind, parts: [], left: size }
  }

  #entry(header: Uint8Array, type: string, ownSize: number): void {
    const { path = nameOf(header), linkpath = text(header.subarray(157, 257)), size = ownSize } = this.#next
    this.#next = {}
    if (type === 'S') throw new TarRefused('damaged', 'a layer has a sparse file')
    refuseEscape(path)
    if (type === '1') refuseEscape(linkpath)
    const content = headerOnly.has(type) ? 0 : size
    this.entries += 1
    this.bytes += content
    if (this.entries > this.#limits.maxEntries)
      throw new TarRefused('too-large', `it has more than ${this.#limits.maxEntries} files`)
    if (this.bytes > this.#limits.maxBytes)
      throw new TarRefused('too-large', `it is larger than ${this.#limits.maxBytes} bytes`)
    this.#skip = content + padding(content)
  }

  #readMeta(kind: string, bytes: Uint8Array): void {
    if (kind === 'L') this.#next.path = text(bytes)
    else if (kind === 'K') this.#next.linkpath = text(bytes)
    else
      for (const [key, value] of records(bytes)) {
        if (key.startsWith('GNU.sparse')) throw new TarRefused('damaged', 'a layer has a sparse file')
        if (kind === 'g') continue
        if (key === 'path') this.#next.path = value
        else if (key === 'linkpath') this.#next.linkpath = value
        else if (key === 'size') this.#next.size = decimal(value)
      }
  }
}

/** Records of a pax header: `LENGTH KEY=VALUE\n`. */
function* records(bytes: Uint8Array): Generator<[string, string]> {
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

function refuseEscape(path: string): void {
  if (path.includes('\0')) throw new TarRefused('damaged', 'a layer has a broken name')
  if (path.split('/').includes('..')) throw new TarRefused('escape', `a layer has a path that leads out of its root`)
}

function nameOf(header: Uint8Array): string {
  const name = text(header.subarray(0, 100))
  const isUstar = decoder.decode(header.subarray(257, 263)) === 'ustar\0'
  const prefix = isUstar ? text(header.subarray(345, 500)) : ''
  return prefix === '' ? name : `${prefix}/${name}`
}

function text(field: Uint8Array): string {
  const end = field.indexOf(0)
  return decoder.decode(end === -1 ? field : field.subarray(0, end))
}

function decimal(digits: string): number {
  const value = /^[0-9]{1,16}$/.test(digits) ? Number(digits) : Number.NaN
  if (!Number.isSafeInteger(value)) throw new TarRefused('damaged', 'a layer has a broken header')
  return value
}

/** Octal digits, or base 256 where the first bit is set. */
function numberOf(field: Uint8Array): number {
  const first = field[0] ?? 0
  let value = 0
  if ((first & 0x80) !== 0) {
    value = first & 0x3f
    if ((first & 0x40) !== 0) value = Number.NaN
    for (const byte of field.subarray(1)) value = value * 256 + byte
  } else {
    const digits = text(field).trim()
    if (!/^[0-7]*$/.test(digits)) value = Number.NaN
    else if (digits !== '') value = Number.parseInt(digits, 8)
  }
  if (!Number.isSafeInteger(value)) throw new TarRefused('damaged', 'a layer has a broken header')
  return value
}

function sumHolds(header: Uint8Array): boolean {
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

function padding(size: number): number {
  return (block - (size % block)) % block
}
