/** `portico attach ID PROCESS`: a process that runs by itself, as if it ran here from now on. Leaving it leaves it running. */

import type { Process, ProcessOutput } from '@portico/sdk'
import type { Command } from 'commander'
import { offset } from '../args/offset.ts'
import { exitCodeFor, followProcess } from '../follow-process.ts'
import { joinTerminal } from '../join-terminal.ts'
import { format } from '../output/failure.ts'
import type { Session } from '../session.ts'
import { findSandbox } from './find-sandbox.ts'

interface Options {
  readonly interactive?: boolean
  readonly from?: number
  readonly json?: boolean
}

export function define(command: Command, session: Session): void {
  command
    .option('-i, --interactive', 'pass standard input on as it comes')
    .option('--from <offset>', 'from this byte of its output on (default: what is kept)', offset)
    .option('--json', 'print how it ended as one line of JSON, in place of its output')
    .action(async (id: string, name: string, { interactive = false, from, json }: Options) => {
      await using portico = await session.connect()
      const sandbox = await findSandbox(portico, id, session.signal)
      const guest = await sandbox.process(name, { signal: session.signal })
      if (json) {
        const exit = await guest.wait({ signal: session.signal })
        session.exitCode = exitCodeFor(exit)
        return await session.terminal.printJson(exit)
      }
      const start = from ?? (await guest.info({ signal: session.signal })).outputStart
      if (guest.tty) await onTerminal(session, guest, start)
      else session.exitCode = exitCodeFor(await followProcess(session, guest, { input: interactive, from: start }))
    })
}

async function onTerminal(session: Session, guest: Process, from: number): Promise<void> {
  let left = false
  const leaving = new AbortController()
  const { size } = session.terminal
  if (size !== undefined) await guest.resize(size.cols, size.rows, { signal: session.signal })
  await joinTerminal(session, {
    output: until(bytesOf(session, guest.follow({ from, signal: leaving.signal })), leaving.signal),
    write: (input) => guest.write(input),
    resize: (cols, rows) => guest.resize(cols, rows),
    leave() {
      left = true
      leaving.abort()
    },
  })
  if (!left) session.exitCode = exitCodeFor(await guest.wait({ signal: session.signal }))
}

async function* bytesOf(session: Session, output: AsyncIterable<ProcessOutput>): AsyncGenerator<Uint8Array, void> {
  for await (const item of output) {
    if (item.type !== 'gap') yield item.bytes
    else await session.terminal.complain(format(`${item.lost} bytes of output are no longer there`))
  }
}

/** What comes until the signal aborts, which is no failure. */
async function* until(items: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
  try {
    yield* items
  } catch (error) {
    if (!signal.aborted) throw error
  }
}
