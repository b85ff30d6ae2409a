/** `portico shell ID`: the sandbox's shell on our terminal; where there is none, it reads its lines from standard input. */

import type { Command } from 'commander'
import { exitCodeFor, followProcess } from '../follow-process.ts'
import type { Session } from '../session.ts'
import { runOnTerminal } from '../terminal-session.ts'
import { findSandbox } from './find-sandbox.ts'

interface Options {
  readonly cwd?: string
  readonly user?: string
  readonly json?: boolean
}

/** Its best shell, reading standard input. */
const shell = 'if command -v bash >/dev/null; then exec bash; else exec sh; fi'

export function define(command: Command, session: Session): void {
  command
    .option('--cwd <dir>', 'working directory (default: /)')
    .option('--user <user>', 'as whom, a name or number (default: root)')
    .option('--json', 'print how it ended as one line of JSON behind its output')
    .action(async (id: string, { cwd, user, json }: Options) => {
      await using portico = await session.connect()
      const sandbox = await findSandbox(portico, id, session.signal)
      if (process.stdin.isTTY && session.terminal.isTerminal) {
        await runOnTerminal(session, sandbox, { cwd, user })
        if (json) await session.terminal.printJson({ exitCode: session.exitCode })
        return
      }
      await using guest = await sandbox.spawn(shell, { cwd, user, stdinOpen: true, signal: session.signal })
      const exit = await followProcess(session, guest, { input: true })
      session.exitCode = exitCodeFor(exit)
      if (json) await session.terminal.printJson(exit)
    })
}
