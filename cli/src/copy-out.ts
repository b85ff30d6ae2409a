/**
 * Files of a sandbox to here. What a sandbox says of them is not trusted: a directory is unpacked inside of its destination and nowhere else, nothing gets an owner
 * other than us, and bits that would lend our rights to others are taken away.
 */

import { randomBytes } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ReadableStream as NodeStream } from 'node:stream/web'
import type { SandboxFiles } from '@portico/sdk'
import { nameOf } from './copy-in.ts'
import type { Session } from './session.ts'
import { tarWarnings } from './tar-warnings.ts'

/** Copies a file or directory to a path here, or under its own name into a directory that is there. */
export async function copyOut(session: Session, files: SandboxFiles, from: string, to: string): Promise<void> {
  const { signal } = session
  const about = await files.stat(from, { signal })
  const name = nameOf(from)
  const target = name !== '' && (await isDirectory(to)) ? join(to, name) : to
  if (about.type === 'directory') return await unpack(session, files, from, target)
  const content = await files.stream(from, { signal })
  // Bits of a link say nothing of what it points at.
  const mode = about.type === 'file' ? Number.parseInt(about.mode, 8) & 0o777 : 0o666
  await replace(target, content, mode, signal)
}

/** Copies a file to our output, or a directory as a tar. */
export async function copyOutStream(session: Session, files: SandboxFiles, from: string): Promise<void> {
  const { signal, terminal } = session
  const { type } = await files.stat(from, { signal })
  const content = type === 'directory' ? await files.archive(from, { signal }) : await files.stream(from, { signal })
  for await (const bytes of content) await terminal.print(bytes)
}

/** Writes a file in one step: what was there stays until all has come. */
async function replace(
  target: string,
  content: ReadableStream<Uint8Array>,
  mode: number,
  signal: AbortSignal,
): Promise<void> {
  const part = `${target}.${randomBytes(6).toString('hex')}.part`
  try {
    await pipeline(Readable.fromWeb(content as NodeStream), createWriteStream(part, { flags: 'wx', mode }), { signal })
    await rename(part, target)
  } catch (error) {
    await rm(part, { force: true })
    throw signal.aborted ? signal.reason : error
  }
}

async function unpack(session: Session, files: SandboxFiles, from: string, to: string): Promise<void> {
  const { signal } = session
  const { extract } = await import('tar')
  const warnings = tarWarnings(session)
  await mkdir(to, { recursive: true })
  const content = await files.archive(from, { signal })
  const unpacking = extract({
    cwd: to,
    preserveOwner: false,
    onwarn: warnings.take,
    filter: (_path, entry) => {
      entry.mode = (entry.mode ?? 0o666) & 0o777
      return true
    },
  })
  try {
    await pipeline(Readable.fromWeb(content as NodeStream), unpacking, { signal })
  } catch (error) {
    throw signal.aborted ? signal.reason : error
  }
  await warnings.told()
}

async function isDirectory(path: string): Promise<boolean> {
  return await stat(path).then(
    (about) => about.isDirectory(),
    () => false,
  )
}
