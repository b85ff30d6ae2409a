/** A build file with all that it takes along: the file itself, and those that it copies, which lie in its folder and are below 1 MB each. */

import { open, readFile, realpath } from 'node:fs/promises'
import { dirname, join, relative, sep } from 'node:path'
import { text as textOf } from 'node:stream/consumers'
import type { BuildFile, BuildImageOptions } from '@portico/sdk'
import { CommandError } from '../command-error.ts'
import { jsonBuild } from './json.ts'
import { stepList } from './steps.ts'

const longestFile = 1_000_000

/** What `portico.images.build` takes; a JSON file may name the image, too. `-` is standard input, whose folder is ours. */
export async function readBuild(file: string): Promise<Partial<BuildImageOptions>> {
  const name = file === '-' ? 'standard input' : file
  const text = await contentOf(file)
  const folder = file === '-' ? process.cwd() : dirname(file)
  if (file.endsWith('.json') || text.trimStart().startsWith('{')) {
    const { options, sources } = jsonBuild(name, text)
    const read = sources.map((one) => fileFor(name, folder, one.source, one.path, one.mode))
    return { ...options, files: [...(options.files ?? []), ...(await Promise.all(read))] }
  }
  const { copies, ...list } = stepList(name, text)
  const read = copies.map(({ line, source, path, mode }) => fileFor(`${name}:${line}`, folder, source, path, mode))
  return { ...list, files: await Promise.all(read) }
}

async function contentOf(file: string): Promise<string> {
  if (file === '-') return await textOf(process.stdin)
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw new CommandError(`cannot read ${file}: ${reason(error)}`)
  }
}

async function fileFor(
  where: string,
  folder: string,
  source: string,
  path: string,
  mode: number | undefined,
): Promise<BuildFile> {
  const refuse = (why: string) => new CommandError(`cannot use ${where}: ${source}: ${why}`)
  let found: string
  try {
    found = await realpath(join(folder, source))
  } catch (error) {
    throw refuse(reason(error))
  }
  const inside = relative(await realpath(folder), found)
  if (inside === '..' || inside.startsWith(`..${sep}`)) throw refuse('it is outside of the folder of the build file')
  await using handle = await open(found)
  const about = await handle.stat()
  if (!about.isFile()) throw refuse('it is no file; folders are not copied')
  if (about.size > longestFile) throw refuse('it is larger than 1 MB; have a step fetch it')
  return { path, content: await handle.readFile(), mode: mode ?? about.mode & 0o777 }
}

function reason(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code
  return code === 'ENOENT' ? 'there is no such file' : (code ?? String(error))
}
