/** Files from here into a sandbox: a file as it is read, a directory as a tar that is packed on the way. */

import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename, posix } from 'node:path'
import { Readable } from 'node:stream'
import type { SandboxFiles } from '@portico/sdk'
import { NotFoundError } from '@portico/sdk/errors'
import { CommandError } from './command-error.ts'
import type { Session } from './session.ts'
import { tarWarnings } from './tar-warnings.ts'

/** Copies a file or directory to a path, or under its own name into a directory that is there. */
export async function copyIn(session: Session, files: SandboxFiles, from: string, to: string): Promise<void> {
  const { signal } = session
  const about = await stat(from)
  const name = nameOf(from)
  const isInside = name !== '' && (to.endsWith('/') || (await isDirectory(files, to, signal)))
  const target = isInside ? posix.join(to, name) : to
  if (about.isDirectory()) return await pack(session, files, from, target)
  if (!about.isFile()) throw new CommandError(`cannot copy ${from}: it is neither a file nor a directory`)
  const content = Readable.toWeb(createReadStream(from)) as ReadableStream<Uint8Array>
  await files.write(target, content, { mode: about.mode & 0o777, signal })
}

/** Copies what comes from a stream. */
export async function copyInStream(
  files: SandboxFiles,
  from: Readable,
  to: string,
  signal: AbortSignal,
): Promise<void> {
  await files.write(to, Readable.toWeb(from) as ReadableStream<Uint8Array>, { signal })
}

/** What is copied is called so; nothing where its content is meant. */
export function nameOf(path: string): string {
  if (path.endsWith('/.') || path.endsWith('/..')) return ''
  const name = basename(path)
  return name === '.' || name === '..' ? '' : name
}

async function pack(session: Session, files: SandboxFiles, from: string, to: string): Promise<void> {
  // Only who copies a directory waits for it to be loaded.
  const { create } = await import('tar')
  const warnings = tarWarnings(session)
  const packing = create({ cwd: from, portable: true, onwarn: warnings.take }, ['.'])
  const tar = Readable.toWeb(Readable.from(packing)) as ReadableStream<Uint8Array>
  await files.unpack(to, tar, { signal: session.signal })
  await warnings.told()
}

async function isDirectory(files: SandboxFiles, path: string, signal: AbortSignal): Promise<boolean> {
  try {
    return (await files.stat(path, { signal })).type === 'directory'
  } catch (error) {
    if (error instanceof NotFoundError && error.code === 'file_not_found') return false
    throw error
  }
}
