/**
 * A process in a sandbox as if it ran here: its output is ours as it comes, our input and Ctrl-C are its. The first Ctrl-C is SIGINT to it; with a second one, or
 * any other signal, we leave: what becomes of it then is for the caller to say. One more, and we are gone at once.
 */

import type { Process, ProcessExit, ProcessOutput } from '@portico/sdk'
import { PorticoError } from '@portico/sdk/errors'
import { endedBy, timedOut } from './exit-codes.ts'
import { Interrupted, type SignalName } from './interrupt.ts'
import { format, lines } from './output/failure.ts'
import type { Session } from './session.ts'

export interface FollowProcess {
  /** Our standard input is passed on, and its end. */
  readonly input: boolean
  readonly from?: number | undefined
}

/** Follows it to its end; rejects with an Interrupted when we are told to leave. */
export async function followProcess(
  session: Session,
  guest: Process,
  { input, from }: FollowProcess,
): Promise<ProcessExit> {
  const leaving = new AbortController()
  const { signal } = leaving
  let interrupts = 0
  const diverted = session.interrupt.divert((name) => {
    if (signal.aborted) process.exit(endedBy(name))
    const leave = (by: SignalName) => leaving.abort(new Interrupted(by))
    if (name !== 'SIGINT' || interrupts++ > 0) leave(name)
    else guest.signal(name, { signal }).catch(() => leave(name))
  })
  const feeding = input ? feed(session, guest, signal) : undefined
  try {
    await printOutput(session, guest.follow({ from, signal }))
    return await guest.wait({ signal })
  } finally {
    feeding?.[Symbol.dispose]()
    // Who has been told to leave already goes at once when told again.
    if (!signal.aborted) diverted[Symbol.dispose]()
  }
}

/** Our exit code for how it ended. */
export function exitCodeFor({ exitCode, timedOut: late }: ProcessExit): number {
  return late ? timedOut : exitCode
}

/** Prints output as it comes, each of the two where it belongs. What is lost is told. */
export async function printOutput(session: Session, output: AsyncIterable<ProcessOutput>): Promise<void> {
  for await (const item of output) {
    if (item.type === 'gap') await session.terminal.complain(format(`${item.lost} bytes of output are no longer there`))
    else if (item.type === 'stdout') await session.terminal.print(item.bytes)
    else await session.terminal.complain(item.bytes)
  }
}

/** Passes our standard input on as it comes, until it ends or this is disposed of. */
function feed(session: Session, guest: Process, signal: AbortSignal): Disposable {
  const { stdin } = process
  let stopped = false
  const feeding = async () => {
    for await (const chunk of stdin) await guest.write(chunk as Buffer, { signal })
    await guest.closeStdin({ signal })
  }
  feeding().catch(async (error: unknown) => {
    // A process that has closed its input, or is over, wants no more of it.
    const isOver = error instanceof PorticoError && (error.code === 'conflict' || error.code === 'not_found')
    if (!stopped && !signal.aborted && !isOver) await session.terminal.complain(lines(error, session.local))
  })
  return {
    [Symbol.dispose]() {
      stopped = true
      stdin.destroy()
    },
  }
}
