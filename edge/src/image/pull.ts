/** Pulling an image: a runner of the region does it and tells how far it is. A pull whose tunnel breaks is asked for again: what the runner has by then it does not fetch twice. */

import { type PullProgress, pullProgress } from '@portico/shared/control'
import { AppError, type ErrorCode } from '@portico/shared/errors'
import { runnerFetcher } from '../durable/objects.ts'
import { readAnswer } from '../guest/wire.ts'
import { unwrap } from '../outcome.ts'
import { isImageRefusal, mostTelling } from '../placement/refusal.ts'
import { reach } from '../platform-errors.ts'
import { pullRequest } from './pull-wire.ts'
import type { Made } from './state.ts'
import { pause, type Work } from './work.ts'

const action = 'pull the image'
const mostTries = 5
const againMs = 1000
/** Longer than any line: a config with all of its variables. */
const longestLine = 1_048_576
/** A progress of the same phase is told so often at most. */
const tellMs = 250

/** Has the image pulled to a runner of the region. */
export async function pull(work: Work, reference: string): Promise<Made> {
  const region = work.objects.region(work.principal.region)
  const avoid: string[] = []
  let refusal: AppError | undefined
  for (let tries = 1; ; tries++) {
    let runner: string | undefined
    try {
      runner = unwrap(await reach(action, region.puller(reference, avoid)))
      return await pullTo(work, runner, reference)
    } catch (thrown) {
      const error = AppError.from(thrown)
      if (work.signal.aborted) throw error
      if (runner === undefined && error.code === 'no_runner' && refusal !== undefined) throw refusal
      const isRefused = runner !== undefined && isImageRefusal(error)
      const mayComeBack = comesBack.includes(error.code) || (error.code === 'no_runner' && tries > 1)
      if (!(isRefused || mayComeBack) || tries >= mostTries) throw error
      if (runner !== undefined && isRefused) {
        refusal = mostTelling(refusal, error)
        avoid.push(runner)
      } else {
        await pause(work, againMs)
      }
    }
  }
}

/** A tunnel that broke, an object that the platform moved. */
const comesBack: readonly string[] = ['runner_disconnected', 'overloaded']

async function pullTo(work: Work, runner: string, reference: string): Promise<Made> {
  const [url, init] = pullRequest({ reference, refresh: true }, work.signal)
  const answer = await readAnswer(await reach(action, runnerFetcher(work.env, runner).fetch(url, init)))
  const told = new Told(work)
  for await (const line of lines(answer.body ?? new Blob([]).stream(), work.signal)) {
    if (line.event === 'progress') told.progress(line)
    else if (line.event === 'done') return madeOf(line)
    else throw AppError.fromWire({ code: line.error.code as ErrorCode, message: line.error.message })
  }
  throw new AppError('runner_disconnected', `cannot ${action}: its runner broke off`)
}

function madeOf({ image, took_ms }: Extract<PullProgress, { event: 'done' }>): Made {
  const { name: resolved, reference, config, size_bytes: sizeBytes } = image
  return { facts: { reference, resolved, config, took_ms }, sizeBytes, snapshot: null }
}

/** Not every progress of a runner is worth an event. */
class Told {
  readonly #work: Work
  #phase = ''
  #at = 0

  constructor(work: Work) {
    this.#work = work
  }

  progress(line: Extract<PullProgress, { event: 'progress' }>): void {
    const now = this.#work.clock.now()
    const isWhole = line.done_bytes !== undefined && line.done_bytes === line.total_bytes
    if (line.phase === this.#phase && !isWhole && now - this.#at < tellMs) return
    this.#phase = line.phase
    this.#at = now
    this.#work.tell(line)
  }
}

/** The runner's lines, checked: one that is none ends the pull. */
async function* lines(body: ReadableStream<Uint8Array>, signal: AbortSignal): AsyncGenerator<PullProgress> {
  const decoder = new TextDecoder()
  const reader = body.getReader()
  const stop = () => void reader.cancel().catch(() => undefined)
  signal.addEventListener('abort', stop)
  let rest = ''
  try {
    for (;;) {
      const { done, value } = await reader.read().catch(broken)
      signal.throwIfAborted()
      if (done) return
      const whole = (rest + decoder.decode(value, { stream: true })).split('\n')
      rest = whole.pop() ?? ''
      if (rest.length > longestLine) throw nonsense()
      for (const line of whole) if (line !== '') yield parse(line)
    }
  } finally {
    signal.removeEventListener('abort', stop)
    stop()
  }
}

function broken(cause: unknown): never {
  throw new AppError('runner_disconnected', `cannot ${action}: its runner broke off`, { cause })
}

function parse(line: string): PullProgress {
  try {
    return pullProgress.parse(JSON.parse(line))
  } catch {
    throw nonsense()
  }
}

function nonsense(): AppError {
  return new AppError('protocol_error', `cannot ${action}: its runner told nonsense`)
}
