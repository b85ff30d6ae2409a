/** Asking again and again while the page is looked at, one call at a time, and not while it is hidden. */

import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import { type ApiFailure, toFailure } from '../api.ts'

export interface Polled<Value> {
  readonly value: Value | undefined
  readonly failure: ApiFailure | undefined
  /** Asks now. */
  readonly again: () => void
}

/** The newest answer of `ask`, every `everyMs` and whenever `inputs` change; a failure stays until an answer comes. */
export function usePolling<Value>(
  ask: (signal: AbortSignal) => Promise<Value>,
  everyMs: number,
  inputs: readonly unknown[],
): Polled<Value> {
  const [state, setState] = useState<Omit<Polled<Value>, 'again'>>({ value: undefined, failure: undefined })
  const newest = useRef(ask)
  newest.current = ask
  const now = useRef<() => void>(() => undefined)
  useEffect(() => {
    const stop = new AbortController()
    let timer: ReturnType<typeof setTimeout> | undefined
    let asking = false
    const round = async () => {
      clearTimeout(timer)
      if (asking || stop.signal.aborted || document.hidden) return
      asking = true
      try {
        const value = await newest.current(stop.signal)
        if (!stop.signal.aborted) setState({ value, failure: undefined })
      } catch (error) {
        if (!stop.signal.aborted) setState(({ value }) => ({ value, failure: toFailure(error) }))
      }
      asking = false
      if (!stop.signal.aborted) timer = setTimeout(() => void round(), everyMs)
    }
    now.current = () => void round()
    document.addEventListener('visibilitychange', now.current, { signal: stop.signal })
    void round()
    return () => {
      stop.abort()
      clearTimeout(timer)
    }
  }, [everyMs, ...inputs])
  return { ...state, again: useCallback(() => now.current(), []) }
}
