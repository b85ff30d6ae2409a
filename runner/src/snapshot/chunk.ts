/**
 * Memory for chunks: shared, so that they can be hashed on another thread; aligned to pages, so that they can be written past the page cache; and kept for a while after use, as the first touch of new memory costs several
 * times what copying into it does.
 */

export const chunkBytes = 4 * 2 ** 20

export type Chunk = Uint8Array<SharedArrayBuffer>

/** 128 MiB, for as long as they are used. */
const maxKept = 32
const keptMs = 30_000
const pageBytes = 4096

const kept: Chunk[] = []
let forget: NodeJS.Timeout | undefined

/** A whole chunk with any content. */
export function takeChunk(): Chunk {
  return kept.pop() ?? touched(new Uint8Array(aligned()))
}

/** Gives a chunk back, or any part of one; nobody may use it any more. */
export function giveChunk(chunk: Chunk): void {
  if (kept.length >= maxKept || chunk.buffer.byteLength !== chunkBytes) return
  kept.push(new Uint8Array(chunk.buffer))
  forget?.refresh()
  forget ??= setTimeout(() => {
    forget = undefined
    kept.length = 0
  }, keptMs).unref()
}

/** Of all that JavaScript can allocate, only the memory of WebAssembly begins at a page. */
function aligned(): SharedArrayBuffer {
  const pages = chunkBytes / wasmPageBytes
  return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }).buffer
}

const wasmPageBytes = 65_536

/** What of it is needed: the types of this platform do not have it. */
declare const WebAssembly: {
  readonly Memory: new (size: {
    initial: number
    maximum: number
    shared: true
  }) => { readonly buffer: SharedArrayBuffer }
}

function touched(chunk: Chunk): Chunk {
  for (let at = 0; at < chunk.length; at += pageBytes) chunk[at] = 0
  return chunk
}
