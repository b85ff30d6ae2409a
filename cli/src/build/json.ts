/** A build as JSON: the body of `POST /v1/images`, whose files may also name a `source` beside the build file instead of their content. Unknown fields are refused. */

import type { BuildFile, BuildImageOptions, BuildStep } from '@portico/sdk'
import { CommandError } from '../command-error.ts'

type Json = Readonly<Record<string, unknown>>

/** A file whose content is still to be read. */
export interface SourceFile {
  readonly source: string
  readonly path: string
  readonly mode: number | undefined
}

export interface JsonBuild {
  readonly options: Partial<BuildImageOptions>
  readonly sources: readonly SourceFile[]
}

const fields = ['name', 'tag', 'from', 'steps', 'env', 'files', 'vcpus', 'mem_mib', 'disk_mib', 'start', 'ready_port']

/** What the values may be is for the platform to say; here is what has another shape or no meaning at all. */
export function jsonBuild(file: string, text: string): JsonBuild {
  const refuse = (why: string) => new CommandError(`cannot use ${file}: ${why}`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw refuse((error as Error).message)
  }
  const build = object(value, 'it', fields, refuse)
  const { steps = [], files = [], mem_mib: memMiB, disk_mib: diskMiB, ready_port: readyPort, ...same } = build
  if (!Array.isArray(steps) || !Array.isArray(files)) throw refuse('steps and files are lists')
  const read = files.map((one, at) => fileOf(one, `files[${at}]`, refuse))
  const options = {
    ...same,
    memMiB,
    diskMiB,
    readyPort,
    steps: steps.map((step, at) => stepOf(step, `steps[${at}]`, refuse)),
    files: read.filter((one) => 'content' in one),
  } as Partial<BuildImageOptions>
  return { options, sources: read.filter((one) => 'source' in one) }
}

type Refuse = (why: string) => CommandError

function object(value: unknown, what: string, known: readonly string[], refuse: Refuse): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw refuse(`${what} is no JSON object`)
  const unknown = Object.keys(value).find((name) => !known.includes(name))
  if (unknown !== undefined) throw refuse(`${what} has a field ${unknown}; there are ${known.join(', ')}`)
  return value as Json
}

function stepOf(value: unknown, what: string, refuse: Refuse): string | BuildStep {
  if (typeof value === 'string') return value
  const { timeout, ...step } = object(value, what, ['run', 'env', 'workdir', 'user', 'timeout'], refuse)
  return { ...step, timeoutSec: timeout } as unknown as BuildStep
}

function fileOf(value: unknown, what: string, refuse: Refuse): BuildFile | SourceFile {
  const { path, content, source, mode } = object(value, what, ['path', 'content', 'source', 'mode'], refuse)
  if (typeof path !== 'string') throw refuse(`${what} has no path`)
  if (mode !== undefined && !/^0?[0-7]{3,4}$/.test(String(mode)))
    throw refuse(`${what} has no octal mode such as "0644"`)
  const bits = mode === undefined ? undefined : Number.parseInt(String(mode), 8)
  if (typeof source === 'string' && content === undefined) return { path, source, mode: bits }
  if (typeof content !== 'string' || source !== undefined)
    throw refuse(`${what} has either content, in base64, or source`)
  return { path, content: Buffer.from(content, 'base64'), mode: bits }
}
