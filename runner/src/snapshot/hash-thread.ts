/**
 * SHA-256 on threads of their own, without copying what is hashed: it must lie in shared memory. Web Crypto would copy it first, which costs as much as
 * hashing it. The threads are started when they are first needed and do not keep the process alive.
 */

import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'

export interface HashQuestion {
  readonly id: number
  readonly memory: SharedArrayBuffer
  readonly from: number
  readonly bytes: number
}

export interface HashAnswer {
  readonly id: number
  readonly digest: Uint8Array
}

const threads: (HashThread | undefined)[] = new Array(Math.min(2, availableParallelism())).fill(undefined)
let turn = 0

/** The digest of `bytes`, which must not change until then. */
export function hashShared(bytes: Uint8Array<SharedArrayBuffer>): Promise<Uint8Array> {
  turn = (turn + 1) % threads.length
  const mine = turn
  const thread = threads[mine] ?? new HashThread(() => threads.fill(undefined, mine, mine + 1))
  threads[mine] = thread
  return thread.hash(bytes)
}

class HashThread {
  readonly #worker = new Worker(new URL('./hash-worker.ts', import.meta.url))
  readonly #waiting = new Map<number, PromiseWithResolvers<Uint8Array>>()
  #lastId = 0

  constructor(onEnd: () => void) {
    this.#worker.unref()
    this.#worker.on('message', ({ id, digest }: HashAnswer) => {
      this.#waiting.get(id)?.resolve(digest)
      this.#waiting.delete(id)
      if (this.#waiting.size === 0) this.#worker.unref()
    })
    const end = (cause?: unknown) => {
      onEnd()
      for (const waiting of this.#waiting.values()) waiting.reject(new Error('the hashing thread ended', { cause }))
      this.#waiting.clear()
    }
    this.#worker.on('error', end)
    this.#worker.on('exit', end)
  }

  hash({ buffer: memory, byteOffset: from, byteLength: bytes }: Uint8Array<SharedArrayBuffer>): Promise<Uint8Array> {
    const id = ++this.#lastId
    const waiting = Promise.withResolvers<Uint8Array>()
    this.#waiting.set(id, waiting)
    this.#worker.ref()
    this.#worker.postMessage({ id, memory, from, bytes } satisfies HashQuestion)
    return waiting.promise
  }
}
