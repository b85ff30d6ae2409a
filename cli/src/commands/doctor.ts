/** `portico doctor`: what this host has, what it lacks and how to mend it; the runner knows. Arguments go to it as they are. */

import { join } from 'node:path'
import type { Command } from 'commander'
import { runPart, sourceArgs } from '../part.ts'
import { checkout, type Session } from '../session.ts'

export function define(command: Command, session: Session): void {
  command
    .allowUnknownOption()
    .helpOption(false)
    .action(async (args: string[]) => {
      session.exitCode = await doctor(session, checkout, args)
    })
}

/** The runner's check, from the checkout at `root`. Resolves with its exit code. */
export async function doctor(session: Session, root: string, args: readonly string[]): Promise<number> {
  const check = sourceArgs('the check', join(root, 'runner', 'src', 'main.ts'), ['doctor', ...args])
  return await runPart(session.interrupt, 'the check', process.execPath, check)
}
