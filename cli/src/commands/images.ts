/** `portico images` */

import type { Command } from 'commander'
import type { Session } from '../session.ts'

export function define(command: Command, session: Session): void {
  command.option('--json', 'print one line of JSON').action(async ({ json }: { json?: boolean }) => {
    await using portico = await session.connect()
    const images = await portico.images({ signal: session.signal })
    if (json) await session.terminal.printJson(images)
    else await session.terminal.print(images.map((name) => `${name}\n`).join(''))
  })
}
