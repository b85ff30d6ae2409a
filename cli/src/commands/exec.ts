/** `portico exec ID -- CMD…` */

import type { Command } from 'commander'
import { addGuestOptions, execOptions, type GuestOptions, guestCommand } from '../args/guest-command.ts'
import { exitCodeOf, printResult } from '../output/result.ts'
import type { Session } from '../session.ts'
import { findSandbox } from './find-sandbox.ts'

export function addExec(program: Command, session: Session): void {
  addGuestOptions(program.command('exec <id> [cmd...]'))
    .usage('[options] ID -- CMD…')
    .description('run a command in a sandbox')
    .action(async (id: string, words: string[], options: GuestOptions) => {
      const command = guestCommand(words, options)
      const exec = await execOptions(options, session.signal)
      await using portico = await session.connect()
      const sandbox = await findSandbox(portico, id, session.signal)
      const result = await sandbox.exec(command, exec)
      session.exitCode = exitCodeOf(result)
      if (options.json) await session.terminal.printJson(result)
      else await printResult(session.terminal, result, options.timeout)
    })
}
