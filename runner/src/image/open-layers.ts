/** Makes plain tars of an image's layers, by a program in the jail (layers.ts) whose answers are a stranger's: it has read what a registry sent. */

import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { AppError } from '@portico/shared/errors'
import { z } from 'zod'
import { workFolder } from './confined.ts'
import { removeTree } from './disk.ts'
import type { LayersAnswer, LayersQuestion } from './layers.ts'
import { writeLayout } from './layout.ts'
import { type Manifest, unsuitable } from './manifest.ts'
import { failure, hexOf, inJail, noSpace, type StepOptions } from './step.ts'

/** What an image may be, unpacked, and what the disk has room for. */
export interface LayerLimits {
  readonly imageBytes: number
  readonly freeBytes: number
  readonly freeInodes: number
}

/** What the image will take: of content, and of the disk, where each file costs more. */
export interface Opened {
  readonly bytes: number
  readonly diskBytes: number
}

const maxEntries = 2_000_000
/** A line of the program's is one of numbers, a few for each layer. */
const maxLine = 64 << 10
const count = z.number().int().min(0)
const answerSchema = z.union([
  z.object({ doneBytes: count }),
  z.object({ sizes: z.array(count), bytes: count, diskBytes: count, entries: count }),
  z.object({
    refused: z.enum(['escape', 'damaged', 'too-large', 'no-space', 'digest']),
    why: z.string().max(200),
  }),
])
const programs = ['layers.ts', 'plain-bytes.ts', 'tar-header.ts', 'tar-walk.ts']

export async function openLayers(
  options: StepOptions,
  manifest: Manifest,
  diffIds: readonly string[],
  limits: LayerLimits,
): Promise<Opened> {
  const { folder, what, onBytes } = options
  const blobs = join(folder, 'oci', 'blobs', 'sha256')
  await mkdir(blobs, { recursive: true })
  const question: LayersQuestion = {
    maxBytes: limits.imageBytes,
    maxEntries,
    freeBytes: limits.freeBytes,
    freeInodes: limits.freeInodes,
    layers: manifest.layers.map(({ digest }, at) => ({
      from: `${workFolder}/download/${hexOf(digest)}`,
      to: `${workFolder}/oci/blobs/sha256/${hexOf(diffIds[at] ?? '')}`,
      diffId: diffIds[at] ?? '',
    })),
  }
  let last: LayersAnswer | undefined
  const lines = new Lines((line) => {
    const answer = answerOf(line)
    if (answer && 'doneBytes' in answer) onBytes(answer.doneBytes, manifest.bytes)
    else last = answer
  })
  const program = ['/node', '--no-warnings', '/program/layers.ts', JSON.stringify(question)]
  const sources = programs.map((name) => [`/program/${name}`, join(import.meta.dirname, name)] as const)
  const ended = await inJail(options, program, {
    readOnly: { '/node': process.execPath, ...Object.fromEntries(sources) },
    onStdout: (text) => lines.push(text),
  })
  if (last && 'refused' in last) throw refusal(last, what)
  if (ended.code !== 0 || !last || !('sizes' in last)) throw failure('read its layers', what, ended.stderr)
  await writeLayout(join(folder, 'oci'), diffIds, last.sizes)
  await removeTree(join(folder, 'download'))
  return { bytes: last.bytes, diskBytes: last.diskBytes }
}

function refusal(answer: { refused: string; why: string }, what: string): AppError {
  if (answer.refused === 'no-space') return noSpace(what, answer.why)
  return unsuitable(
    what,
    answer.refused === 'too-large' ? `unpacked, ${answer.why}, the limit of an image` : answer.why,
  )
}

/** A line that is no answer counts as none: the pull fails for it, and nothing else. */
function answerOf(line: string): LayersAnswer | undefined {
  try {
    return answerSchema.parse(JSON.parse(line))
  } catch {
    return undefined
  }
}

/** Whole lines of a stream of text. */
class Lines {
  readonly #onLine: (line: string) => void
  #rest = ''

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine
  }

  push(text: string): void {
    const lines = (this.#rest + text).split('\n')
    this.#rest = (lines.pop() ?? '').slice(-maxLine)
    for (const line of lines) this.#onLine(line)
  }
}
