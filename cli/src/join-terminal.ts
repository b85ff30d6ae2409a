/** Our terminal joined to one in a sandbox, until that ends or we leave it. */

import { onResize, rawMode } from './raw-mode.ts'
import type { Session } from './session.ts'

/** The other end. */
export interface Far {
  /** What it prints. */
  readonly output: AsyncIterable<Uint8Array>
  write(input: Uint8Array): Promise<void>
  resize(cols: number, rows: number): Promise<void>
  /** Ends the output, without ending what prints it: Ctrl-] was typed, or a signal wants us gone. */
  leave(): void
}

/** Ctrl-], as telnet has it. */
const leaveKey = 0x1d

/** Passes keys and output until the output ends. */
export async function joinTerminal(session: Session, far: Far): Promise<void> {
  const { signal } = session
  const left = () => far.leave()
  const typed = (keys: Buffer) => {
    const at = keys.indexOf(leaveKey)
    if (at !== 0) quietly(far.write(at < 0 ? keys : keys.subarray(0, at)))
    if (at >= 0) far.leave()
  }
  using raw = rawMode(session)
  using _sizes = onResize(session, (cols, rows) => quietly(far.resize(cols, rows)))
  raw.input.on('data', typed)
  signal.addEventListener('abort', left, { once: true })
  try {
    for await (const bytes of far.output) await session.terminal.print(bytes)
  } finally {
    raw.input.removeListener('data', typed)
    signal.removeEventListener('abort', left)
  }
  signal.throwIfAborted()
}

/** What cannot be typed any more shows in the output, which ends. */
function quietly(work: Promise<void>): void {
  work.catch(() => undefined)
}
