/**
 * The edge's calls on images. A pull is answered at once, its body tells how it goes: what the stream cannot take is left out, but for the end. Whoever
 * resets the stream gives the pull up.
 */

import type { answers, EdgeCall, PullProgress } from '@portico/shared/control'
import { AppError } from '@portico/shared/errors'
import { answer, resetOnAbort, type TunnelStream } from '@portico/shared/tunnel'
import type { z } from 'zod'
import type { Engine } from '../engine.ts'
import { type PullStep, wireImage } from '../image/store.ts'

type PullCall = Extract<EdgeCall, { op: 'image.pull' }>
type ImageCall = Extract<EdgeCall, { op: 'image.list' | 'image.remove' }>
type Calls = Pick<Engine, 'images'>
type Accepted<Op extends keyof typeof answers> = Omit<Extract<z.infer<(typeof answers)[Op]>, { ok: true }>, 'ok'>

/** Longer than any registry takes; whoever waits has gone long before. */
const pullLimitMs = 60 * 60_000

export async function imageCall({ images }: Calls, call: ImageCall): Promise<object> {
  switch (call.op) {
    case 'image.list':
      return { images: images.list().map(wireImage) } satisfies Accepted<'image.list'>
    case 'image.remove':
      await images.remove(call.name)
      return {} satisfies Accepted<'image.remove'>
  }
}

/** Answers how it ended, as the edge was told. */
export async function imagePull({ images }: Calls, stream: TunnelStream, call: PullCall): Promise<PullProgress> {
  const { reference, refresh } = call
  images.mustBePullable(reference)
  const over = new AbortController()
  void stream.done.then((error) => error && over.abort(error))
  const late = setTimeout(
    () => over.abort(new AppError('deadline', 'cannot pull the image: it took too long')),
    pullLimitMs,
  )
  answer(stream, {} satisfies Accepted<'image.pull'>)
  const unbind = resetOnAbort(stream, over.signal)
  const told = new Progress(stream)
  try {
    const pulling = images.pull(reference, { refresh, signal: over.signal, onProgress: (step) => told.step(step) })
    const last = await pulling.then(
      ({ image, tookMs }): PullProgress => ({ event: 'done', image: wireImage(image), took_ms: { ...tookMs } }),
      (error: unknown): PullProgress => ({
        event: 'error',
        error: AppError.from(error, 'cannot pull the image').toWire(),
      }),
    )
    over.signal.throwIfAborted()
    await told.end(last)
    stream.end()
    return last
  } finally {
    unbind()
    clearTimeout(late)
    over.abort(new AppError('cancelled', 'cannot go on: the pull is over'))
  }
}

/** Writes one line at a time; of the steps that come meanwhile only the last of a phase is told. */
class Progress {
  readonly #stream: TunnelStream
  readonly #waiting = new Map<PullStep['phase'], PullStep>()
  #writing: Promise<void> | undefined

  constructor(stream: TunnelStream) {
    this.#stream = stream
  }

  step(step: PullStep): void {
    this.#waiting.set(step.phase, step)
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined
    })
    this.#writing.catch(() => undefined)
  }

  /** Rejects if the stream is over. */
  async end(last: PullProgress): Promise<void> {
    await this.#writing
    await this.#line(last)
  }

  async #write(): Promise<void> {
    for (let [step] = this.#waiting.values(); step; [step] = this.#waiting.values()) {
      this.#waiting.delete(step.phase)
      const { phase, doneBytes, totalBytes } = step
      await this.#line({
        event: 'progress',
        phase,
        ...(doneBytes === undefined ? {} : { done_bytes: doneBytes }),
        ...(totalBytes === undefined ? {} : { total_bytes: totalBytes }),
      })
    }
  }

  async #line(line: PullProgress): Promise<void> {
    await this.#stream.write(encoder.encode(`${JSON.stringify(line)}\n`))
  }
}

const encoder = new TextEncoder()
