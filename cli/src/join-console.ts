/** A console in a sandbox, joined to our terminal until it ends or we leave it. */

import type { ConsoleView } from '@portico/sdk'
import { joinTerminal } from './join-terminal.ts'
import { format } from './output/failure.ts'
import type { Session } from './session.ts'

/** Our exit code is its program's. Answers whether we left it running. */
export async function joinConsole(session: Session, view: ConsoleView): Promise<'ended' | 'left'> {
  let ended: 'ended' | 'left' = 'left'
  await joinTerminal(session, {
    output: shown(),
    write: (input) => view.write(input),
    resize: (cols, rows) => view.resize(cols, rows),
    leave: () => view.close(),
  })
  return ended

  async function* shown(): AsyncGenerator<Uint8Array, void> {
    for await (const event of view) {
      if (event.type === 'output') yield event.bytes
      else if (event.type === 'exit') {
        session.exitCode = event.exitCode
        ended = 'ended'
      } else if (event.type === 'gap') {
        const text = format(`${event.lost} bytes of output are no longer there`)
        await session.terminal.complain(text.replace('\n', '\r\n'))
      }
    }
  }
}
