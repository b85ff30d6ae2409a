/** `portico cp FROM TO`: files and directories between here and a sandbox, which is named `ID:/path`; `-` is our own stream. */

import type { SandboxFiles } from '@portico/sdk'
import type { Command } from 'commander'
import { type Place, place } from '../args/place.ts'
import { CommandError } from '../command-error.ts'
import { copyIn, copyInStream } from '../copy-in.ts'
import { copyOut, copyOutStream } from '../copy-out.ts'
import type { Session } from '../session.ts'
import { findSandbox } from './find-sandbox.ts'

const help = `
A directory goes with all that is in it. Where the destination is a directory that
exists, what is copied goes into it under its own name; \`FOLDER/.\` is what is in it.

  portico cp main.py "$id:/app/"
  portico cp . "$id:/app"
  portico cp "$id:/app/out" .
  portico cp "$id:/app" - | tar t
`

export function define(command: Command, session: Session): void {
  command.addHelpText('after', help).action(async (from: string, to: string) => {
    const [source, destination] = [place(from), place(to)]
    await using portico = await session.connect()
    const filesOf = async (id: string) => (await findSandbox(portico, id, session.signal)).files
    if (source.where === 'sandbox' && destination.where !== 'sandbox') {
      await out(session, await filesOf(source.id), source.path, destination)
    } else if (destination.where === 'sandbox' && source.where !== 'sandbox') {
      await into(session, await filesOf(destination.id), source, destination.path)
    } else throw new CommandError('cannot copy: not one of the two is in a sandbox', 'A sandbox’s is ID:/path.')
  })
}

type Ours = Exclude<Place, { where: 'sandbox' }>

async function out(session: Session, files: SandboxFiles, path: string, to: Ours): Promise<void> {
  if (to.where === 'stream') await copyOutStream(session, files, path)
  else await shown(session, path, copyOut(session, files, path, to.path))
}

async function into(session: Session, files: SandboxFiles, from: Ours, path: string): Promise<void> {
  const { signal } = session
  if (from.where === 'stream') await copyInStream(files, process.stdin, path, signal)
  else await shown(session, from.path, copyIn(session, files, from.path, path))
}

/** Says meanwhile what goes on, and what the system says of files here as ours. */
async function shown(session: Session, what: string, copying: Promise<void>): Promise<void> {
  try {
    await session.progress.begin(`copying ${what}`)
    await copying
  } catch (error) {
    throw error instanceof Error && 'syscall' in error ? new CommandError(`cannot copy: ${error.message}`) : error
  } finally {
    await session.progress.clear()
  }
}
