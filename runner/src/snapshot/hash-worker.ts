/** The thread that hashes: one chunk after the other, in memory that it shares with whoever asks. */

import { createHash } from 'node:crypto'
import { parentPort } from 'node:worker_threads'
import type { HashAnswer, HashQuestion } from './hash-thread.ts'

parentPort?.on('message', ({ id, memory, from, bytes }: HashQuestion) => {
  const digest = createHash('sha256')
    .update(new Uint8Array(memory, from, bytes))
    .digest()
  parentPort?.postMessage({ id, digest } satisfies HashAnswer)
})
