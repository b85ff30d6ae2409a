/** One step of a build: a command whose output is told as it comes, and whose end says whether the build goes on. A build that is deleted ends it. */

import type { BuildStep, ProcessEnding } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { OutputDecoder, type OutputRecord } from '@portico/shared/process-records'
import { callGuest } from '../guest/call-guest.ts'
import { jsonContent, waitMs } from '../process/ask.ts'
import { readEnding } from '../process/ending.ts'
import { holderPatienceMs } from '../process/output-query.ts'
import { Utf8Pieces } from '../process/utf8-pieces.ts'
import type { Work } from './work.ts'

const usualSeconds = 600
/** What its guest has on top of its time to say how it ended. */
const graceMs = 30_000
/** Of what it printed last, to say why it failed. */
const tailLength = 400

interface WholeStep {
  readonly run: string
  readonly env?: Readonly<Record<string, string>> | undefined
  readonly workdir?: string | undefined
  readonly user?: string | undefined
  readonly timeout?: number | undefined
}

/** Runs it; rejects with `build_failed` unless it exits with 0. */
export async function runStep(work: Work, sandbox: string, step: BuildStep, number: number): Promise<void> {
  const { run, env, workdir, user, timeout = usualSeconds }: WholeStep = step
  const asked = {
    shell: run,
    timeout_ms: timeout * 1000,
    follow: true,
    ...(env === undefined ? {} : { env }),
    ...(workdir === undefined ? {} : { cwd: workdir }),
    ...(user === undefined ? {} : { user }),
  }
  const about = `step ${number}`
  const call = { method: 'POST', path: '/processes', ...jsonContent(asked), waitMs, patienceMs: holderPatienceMs }
  const late = `cannot build the image: ${about} did not end within ${timeout} s, and its sandbox did not say so`
  const limit = new AbortController()
  const stop = work.clock.after(timeout * 1000 + graceMs, () => limit.abort(new AppError('build_failed', late)))
  const limited = { ...work, signal: AbortSignal.any([work.signal, limit.signal]) }
  const printed = new Printed(work)
  const ending = await callGuest(work, sandbox, call as Parameters<typeof callGuest>[2])
    .then((output) => follow(limited, output, printed, about))
    .finally(stop)
  if (ending.exit_code === 0 && !ending.timed_out) return
  const why = ending.timed_out ? `did not end within ${timeout} s` : `exited with code ${ending.exit_code}`
  throw new AppError('build_failed', `cannot build the image: ${about} ${why}${printed.tail}`)
}

async function follow(work: Work, output: Response, printed: Printed, about: string): Promise<ProcessEnding> {
  const decoder = new OutputDecoder()
  const reader = (output.body ?? new Blob([]).stream()).getReader()
  const stop = () => void reader.cancel().catch(() => undefined)
  work.signal.addEventListener('abort', stop)
  try {
    // It may be over since before there was an answer.
    work.signal.throwIfAborted()
    for (;;) {
      const { done, value } = await reader.read().catch((cause: unknown) => brokeOff(about, cause))
      work.signal.throwIfAborted()
      if (done) brokeOff(about)
      for (const record of decoder.push(value)) {
        printed.take(record)
        if (record.kind === 'end') return readEnding(record.json)
      }
    }
  } finally {
    work.signal.removeEventListener('abort', stop)
    stop()
  }
}

function brokeOff(about: string, cause?: unknown): never {
  const why = `cannot build the image: ${about} broke off with the connection to its sandbox`
  throw new AppError('guest_disconnected', why, { cause })
}

/** What it printed, told as it comes. */
class Printed {
  readonly #work: Work
  readonly #pieces = { stdout: new Utf8Pieces(), stderr: new Utf8Pieces() }
  #tails = { stdout: '', stderr: '' }

  constructor(work: Work) {
    this.#work = work
  }

  take(record: OutputRecord): void {
    if (record.kind === 'stdout' || record.kind === 'stderr') {
      this.#tell(record.kind, this.#pieces[record.kind].push(record.bytes))
    }
    if (record.kind !== 'end') return
    for (const stream of ['stdout', 'stderr'] as const) this.#tell(stream, this.#pieces[stream].flush())
  }

  /** The end of what it said of its failure. */
  get tail(): string {
    const text = this.#tails.stderr.trim() || this.#tails.stdout.trim()
    return text === '' ? '' : `: ${text}`
  }

  #tell(stream: 'stdout' | 'stderr', text: string): void {
    if (text === '') return
    this.#tails[stream] = (this.#tails[stream] + text).slice(-tailLength)
    this.#work.tell({ event: 'output', stream, text })
  }
}
