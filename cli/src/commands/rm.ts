/** `portico rm ID PATH…`: files of a sandbox. */

import { NotFoundError } from '@portico/sdk/errors'
import type { Command } from 'commander'
import type { Session } from '../session.ts'
import { findSandbox } from './find-sandbox.ts'

interface Options {
  readonly recursive?: boolean
  readonly force?: boolean
}

export function define(command: Command, session: Session): void {
  command
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
