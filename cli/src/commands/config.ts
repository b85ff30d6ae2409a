/** `portico config check [FILE]`: whether a runner would start with a policy; the runner knows. Arguments go to it as they are. */

import { join } from 'node:path'
import type { Command } from 'commander'
import { runPart, sourceArgs } from '../part.ts'
import { checkout, type Session } from '../session.ts'

export function define(command: Command, session: Session): void {
  command
    .helpCommand(false)
    .command('check [args...]')
    .usage('[FILE]')
    .description('say what is wrong with a portico.yaml, each with its line')
    .allowUnknownOption()
    .helpOption(false)
    .action(async (args: string[]) => {
      session.exitCode = await configCheck(session, checkout, args)
    })
}

/** The runner's check, from the checkout at `root`. Resolves with its exit code. */
export async function configCheck(session: Session, root: string, args: readonly string[]): Promise<number> {
  const main = join(root, 'runner', 'src', 'main.ts')
  const check = sourceArgs('the check', main, ['config', 'check', ...args])
  return await runPart(session.interrupt, 'the check', process.execPath, check)
}
