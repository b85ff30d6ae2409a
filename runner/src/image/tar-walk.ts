/**
 * Looks at a layer's tar as it streams by and refuses what no honest image has: paths that lead out of the root, sparse files (a few bytes that become
 * terabytes), headers that do not add up, more than the limits say. It unpacks nothing. Runs in the jail, so it imports nothing of the runner.
 */

import { block, decimal, nameOf, numberOf, padding, records, sumHolds, TarRefused, text } from './tar-header.ts'

export { TarRefused } from './tar-header.ts'

export interface TarLimits {
  /** Of content. */
  readonly maxBytes: number
  readonly maxEntries: number
  /** What the disk has room for. */
  readonly freeBytes: number
  readonly freeInodes: number
}

const maxMetaBytes = 1 << 20
/** What a file takes of the disk beside its content, and what its content is rounded up to. */
const diskBlock = 4096
/** Zeros that fill a last record; tar programs write records of 10 KiB, and some of more. */
const maxTrailer = 64 << 10
/** Entries that have a header alone, whatever their size field says: links, devices, folders, pipes. */
const headerOnly = new Set(['1', '2', '3', '4', '5', '6'])

/** What pax and GNU headers say of the entry after them. */
interface Overrides {
  path?: string
  linkpath?: string
  pax?: ReadonlyMap<string, string>
}

/** Of several layers, one after the other: its figures and limits are those of all of them. */
export class TarWalk {
  readonly #limits: TarLimits
  /** Of content. */
  bytes = 0
  /** That the content and the files take of the disk. */
  diskBytes = 0
  entries = 0
  /** Files and folders, those among them that an entry only implies. */
  #inodes = 0
  #header = new Uint8Array(block)
  #headerFill = 0
  #skip = 0
  #meta: { kind: string; parts: Uint8Array[]; left: number } | undefined
  #next: Overrides = {}
  #before: readonly string[] = []
  #zeroBlocks = 0
  #trailer = 0

  constructor(limits: TarLimits) {
    this.#limits = limits
  }

  /** The next bytes of the tar. */
  push(chunk: Uint8Array): void {
    let at = 0
    while (at < chunk.length) {
      if (this.#zeroBlocks > 1) {
        this.#trail(chunk.subarray(at))
        return
      }
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

  /** The tar is over: it must not end inside an entry. Another one may follow. */
  end(): void {
    if (this.#skip > 0 || this.#headerFill > 0 || this.#meta) throw new TarRefused('damaged', 'a layer ends too early')
    this.#next = {}
    this.#before = []
    this.#zeroBlocks = 0
    this.#trailer = 0
  }

  /** After the end marker there is nothing but the rest of a record. */
  #trail(rest: Uint8Array): void {
    this.#trailer += rest.length
    if (this.#trailer > maxTrailer || rest.some((byte) => byte !== 0))
      throw new TarRefused('damaged', 'a layer goes on after its end')
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
    else this.#readMeta(kind, new Uint8Array())
  }

  #entry(header: Uint8Array, type: string, ownSize: number): void {
    const { pax } = this.#next
    const path = this.#next.path || pax?.get('path') || nameOf(header)
    const linkpath = this.#next.linkpath || pax?.get('linkpath') || text(header.subarray(157, 257))
    const size = pax?.get('size') ? decimal(pax.get('size') ?? '') : ownSize
    this.#next = {}
    if (type === 'S') throw new TarRefused('damaged', 'a layer has a sparse file')
    // What Go's reader makes of it may end in a slash.
    if (type === '\0' && path === '') throw new TarRefused('damaged', 'a layer has a file without a name')
    refuseEscape(path)
    if (type === '1') refuseEscape(linkpath)
    const content = headerOnly.has(type) || isOldFolder(type, path) ? 0 : size
    this.#count(path, content)
    this.#skip = content + padding(content)
  }

  #count(path: string, content: number): void {
    const { maxBytes, maxEntries, freeBytes, freeInodes } = this.#limits
    const made = this.#newNames(path)
    this.entries += 1
    this.#inodes += made
    this.bytes += content
    this.diskBytes += (made + Math.ceil(content / diskBlock)) * diskBlock
    if (this.entries > maxEntries) throw new TarRefused('too-large', `it has more than ${maxEntries} files`)
    if (this.bytes > maxBytes) throw new TarRefused('too-large', `it is larger than ${maxBytes} bytes`)
    if (this.diskBytes > freeBytes || this.#inodes > freeInodes)
      throw new TarRefused('no-space', 'the disk has too little room for it')
  }

  /** How many files and folders an entry may make: those of its path that are not of the one before. */
  #newNames(path: string): number {
    const names = path.split('/').filter((name) => name !== '' && name !== '.')
    const before = this.#before
    this.#before = names
    let shared = 0
    while (shared < names.length && names[shared] === before[shared]) shared += 1
    return Math.max(1, names.length - shared)
  }

  /** As Go's reader has it: a later header of a kind takes the place of one before, and a global one ends what was said so far. */
  #readMeta(kind: string, bytes: Uint8Array): void {
    if (kind === 'L') this.#next.path = text(bytes)
    else if (kind === 'K') this.#next.linkpath = text(bytes)
    else {
      const pax = new Map(records(bytes))
      for (const key of pax.keys())
        if (key.startsWith('GNU.sparse')) throw new TarRefused('damaged', 'a layer has a sparse file')
      if (kind === 'g') this.#next = {}
      else this.#next.pax = pax
    }
  }
}

/** Before there was a type for folders, the slash at the end of their names said so. */
function isOldFolder(type: string, path: string): boolean {
  return type === '\0' && path.endsWith('/')
}

function refuseEscape(path: string): void {
  if (path.includes('\0')) throw new TarRefused('damaged', 'a layer has a broken name')
  if (path.split('/').includes('..')) throw new TarRefused('escape', `a layer has a path that leads out of its root`)
}
