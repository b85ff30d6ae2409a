/** `portico hibernate ID…` and `portico resume ID…`: to sleep and back. */

import type { Command } from 'commander'
import type { Session } from '../session.ts'
import { each } from './each.ts'
import { findSandbox } from './find-sandbox.ts'

export function addHibernate(program: Command, session: Session): void {
  add(program, session, 'hibernate', 'hibernating', 'put sandboxes to sleep; they cost nothing until they resume')
}

export function addResume(program: Command, session: Session): void {
  add(program, session, 'resume', 'resuming', 'wake hibernated sandboxes')
}

function add(program: Command, session: Session, verb: 'hibernate' | 'resume', doing: string, what: string): void {
  const { signal } = session
  program
    .command(`${verb} <id...>`)
    .usage('[options] ID…')
    .description(what)
    .option('--json', 'print their records as one line of JSON')
    .action(async (ids: string[], { json }: { json?: boolean }) => {
      await using portico = await session.connect()
      await each(session, ids, { doing, json }, async (id) => {
        const sandbox = await findSandbox(portico, id, signal)
        await sandbox[verb]({ signal })
        return sandbox
      })
    })
}
