/** `portico rm ID PATH…`: files of a sandbox. */

import { NotFoundError } from '@portico/sdk'
import type { Command } from 'commander'
import type { Session } from '../session.ts'
import { findSandbox } from './find-sandbox.ts'

interface Options {
  readonly recursive?: boolean
  readonly force?: boolean
}

export function addRm(program: Command, session: Session): void {
  program
    .command('rm <id> <path...>')
    .usage('[options] ID PATH…')
    .description('remove files of a sandbox')
    .option('-r, --recursive', 'directories with all that is in them')
    .option('-f, --force', 'one that is not there is fine')
    .action(async (id: string, paths: string[], { recursive, force }: Options) => {
      await using portico = await session.connect()
      const { files } = await findSandbox(portico, id, session.signal)
      for (const path of paths)
        await files.remove(path, { recursive, signal: session.signal }).catch((error: unknown) => {
          if (!(force && error instanceof NotFoundError && error.code === 'file_not_found')) throw error
        })
    })
}
