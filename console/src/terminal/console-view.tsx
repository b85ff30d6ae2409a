/** One console on the page, and in words how it stands. Ctrl+F6 leaves it, as Tab belongs to the program in it. */

import type { ConsoleEvent } from '@portico/shared/api'
import { useEffect, useRef, useState } from 'preact/hooks'
import { type ApiFailure, toFailure } from '../api.ts'
import { Notice } from '../parts/notice.tsx'
import type { Phase } from './attachment.ts'
import type { Screen, ScreenOptions } from './screen.ts'

export interface ConsoleViewProps {
  readonly address: (from: number | undefined) => string
  /** Asks, after an attempt that came to nothing, whether another makes sense; throws why not. */
  readonly check?: () => Promise<void>
  readonly onLeave: () => void
}

interface Standing {
  readonly phase: Phase
  readonly access: 'read' | 'write'
  readonly viewers: number
  readonly link: string | undefined
  readonly end: string | undefined
}

const atFirst: Standing = { phase: 'connecting', access: 'write', viewers: 1, link: undefined, end: undefined }
/** What no later attempt changes. */
const final = [401, 403, 404, 410]

export function ConsoleView({ address, check, onLeave }: ConsoleViewProps) {
  const place = useRef<HTMLDivElement>(null)
  const [standing, setStanding] = useState(atFirst)
  const shown = useRef<Screen>(undefined)
  const [failure, setFailure] = useState<ApiFailure>()
  const newest = useRef({ address, check, onLeave })
  newest.current = { address, check, onLeave }
  useEffect(() => {
    if (place.current === null) return
    const change = (what: Partial<Standing>) => setStanding((now) => ({ ...now, ...what }))
    let screen: Screen | undefined
    let left = false
    const options: ScreenOptions = {
      place: place.current,
      address: (from) => newest.current.address(from),
      onPhase: (phase) => {
        change({ phase })
        if (phase === 'waiting') void ask()
      },
      onEvent: (event) => change(told(event)),
      onLeave: () => newest.current.onLeave(),
    }
    const ask = async () => {
      try {
        await newest.current.check?.()
      } catch (error) {
        const why = toFailure(error)
        if (!final.includes(why.status)) return
        setFailure(why)
        screen?.close()
      }
    }
    // xterm is most of the page's weight, and only needed here.
    const open = async () => {
      const { Screen } = await import('./screen.ts')
      if (left) return
      screen = new Screen(options)
      shown.current = screen
      // Where fingers type, the focus would open a keyboard that nobody asked for.
      if (matchMedia('(pointer: fine)').matches) screen.focus()
    }
    open().catch((error: unknown) => setFailure(toFailure(error)))
    return () => {
      left = true
      screen?.close()
    }
  }, [])
  return (
    <div class="console">
      <Notice failure={failure} />
      <div class="screen" ref={place} data-phase={standing.phase} />
      <p class="row between quiet">
        <span role="status">{sentence(standing)}</span>
        <label class="check">
          <input type="checkbox" onChange={(event) => shown.current?.tell(event.currentTarget.checked)} />
          For screen readers
        </label>
        <span>
          <kbd>Ctrl</kbd>+<kbd>F6</kbd> leaves the terminal
        </span>
      </p>
    </div>
  )
}

function told(event: ConsoleEvent): Partial<Standing> {
  switch (event.type) {
    case 'joined':
      return { access: event.access, end: undefined }
    case 'viewers':
      return { viewers: event.count }
    case 'link':
      return {
        link: event.state === 'connected' ? undefined : (event.reason ?? 'the sandbox cannot be reached right now'),
      }
    case 'exit':
      return { end: `Ended with ${event.signal ?? `code ${event.exit_code}`}` }
    case 'error':
      return { end: event.error }
    default:
      return {}
  }
}

function sentence({ phase, access, viewers, link, end }: Standing): string {
  if (end !== undefined) return `${end}.`
  if (phase === 'waiting') return 'The connection was cut; trying again…'
  if (phase === 'connecting' || phase === 'replaying') return 'Connecting…'
  if (phase === 'over') return 'Closed.'
  if (link !== undefined) return `Waiting: ${link}.`
  const who = viewers > 1 ? `, ${viewers} look at it` : ''
  return access === 'read' ? `Read-only${who}.` : `Connected${who}.`
}
