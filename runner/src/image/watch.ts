/** Looks at what a program has written while it works: tells how much it is, and ends the program when it is too much or stays the same for too long. */

export interface WatchOptions {
  readonly signal: AbortSignal
  readonly measure: () => Promise<number>
  readonly onBytes: (bytes: number) => void
  readonly maxBytes: number
  readonly tooMuch: () => Error
  readonly stallMs: number
  readonly stalled: () => Error
}

export interface Watch extends AsyncDisposable {
  /** Aborts with the caller's, or with why the program has to end. */
  readonly signal: AbortSignal
}

const lookEveryMs = 200

/** Watches until it is disposed of. */
export function watchGrowth(options: WatchOptions): Watch {
  const own = new AbortController()
  let timer: NodeJS.Timeout | undefined
  let looking: Promise<void> = Promise.resolve()
  let last = -1
  let grewAt = performance.now()
  let ended = false

  const look = async () => {
    const bytes = await options.measure().catch(() => last)
    if (ended) return
    if (bytes > last) {
      last = bytes
      grewAt = performance.now()
      options.onBytes(Math.min(bytes, options.maxBytes))
    }
    if (bytes > options.maxBytes) own.abort(options.tooMuch())
    else if (performance.now() - grewAt > options.stallMs) own.abort(options.stalled())
    else next()
  }
  const next = () => {
    timer = setTimeout(() => {
      looking = look()
    }, lookEveryMs)
  }
  next()
  return {
    signal: AbortSignal.any([own.signal, options.signal]),
    async [Symbol.asyncDispose]() {
      ended = true
      clearTimeout(timer)
      await looking
    },
  }
}
