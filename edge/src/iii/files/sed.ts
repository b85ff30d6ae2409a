/**
 * `sandbox::fs::sed`: each file is read, its matches are replaced here, and it is written back in one step, with its mode and owner. What another program
 * writes into it in between is lost, as with any editor. With `path`, the files are those that have a line that matches, as grep finds them.
 */

import { z } from 'zod'
import { noteCall } from '../../audit/calls.ts'
import type { KeyCall } from '../../call.ts'
import { Fault } from '../errors.ts'
import { iiiFunction } from '../functions.ts'
import { inSandbox } from '../named-sandbox.ts'
import { readSmall, textOf, writeFile } from './body.ts'
import { faultOf } from './faults.ts'
import { searchIn, searchOf, treeFields } from './grep.ts'
import { absolute } from './paths.ts'
import { expansionOf, loadPatterns, type Match, type Pattern } from './patterns.ts'

const mostFiles = 1000
/** Of one file, before and after. */
const mostBytes = 4_194_304
/** Files that are not reached in this time are told as failed. */
const mostMs = 25_000
const flag = z.boolean().nullish()

interface FileResult {
  readonly path: string
  readonly replacements: number
  readonly success: boolean
  readonly error?: string
}

interface Replacing {
  readonly pattern: Pattern
  readonly replacement: (match: Match) => string
  readonly firstOnly: boolean
}

export const sed = iiiFunction({
  id: 'sandbox::fs::sed',
  needs: 'use',
  schema: z.object({
    sandbox_id: z.string(),
    files: z.array(z.string()).nullish(),
    path: z.string().nullish(),
    ...treeFields,
    pattern: z.string(),
    replacement: z.string(),
    regex: flag,
    first_only: flag,
    ignore_case: flag,
  }),
  handle: (payload, context) =>
    inSandbox(context, payload.sandbox_id, async (id) => {
      const { files, path, pattern, replacement } = payload
      const given = files ?? []
      if (given.length > 0 === (path != null)) throw new Fault('S210', 'give exactly one of files and path')
      const patterns = await loadPatterns()
      const literal = payload.regex === false
      const ignoreCase = payload.ignore_case === true
      const replacing = {
        pattern: patterns.compile(literal ? patterns.quote(pattern) : pattern, false, ignoreCase),
        replacement: literal ? () => replacement : expansionOf(replacement),
        firstOnly: payload.first_only === true,
      }
      const call = context.call(id)
      const where = path == null ? null : { ...searchOf({ ...payload, path }), pattern, literal, ignoreCase }
      const paths = where === null ? given.map((file) => absolute(file)) : await matching(call, id, where)
      if (paths.length > mostFiles) throw new Fault('S210', `more than ${mostFiles} files at once`)
      const results = await replaceAll(call, id, paths, replacing)
      const total_replacements = results.reduce((sum, { replacements }) => sum + replacements, 0)
      return { results, total_replacements }
    }),
})

/** The files with a line that matches. */
async function matching(call: KeyCall, id: string, where: Parameters<typeof searchIn>[2]): Promise<string[]> {
  const { matches, truncated } = await searchIn(call, id, where)
  // Nothing was changed yet: better than some files changed, and nobody knowing which were not.
  if (truncated)
    throw new Fault('S210', 'there are too many matches to be sure of all files: narrow it with include_glob')
  return [...new Set(matches.map((match) => match.path))]
}

async function replaceAll(call: KeyCall, id: string, paths: readonly string[], replacing: Replacing) {
  const until = call.services.clock.now() + mostMs
  const results: FileResult[] = []
  for (const path of paths) {
    const isLate = call.services.clock.now() > until
    results.push(isLate ? failed(path, 'not reached in time: call again') : await replaceIn(call, id, path, replacing))
  }
  return results
}

async function replaceIn(call: KeyCall, id: string, path: string, replacing: Replacing): Promise<FileResult> {
  try {
    const bytes = await readSmall(call, id, path, mostBytes)
    if (bytes === undefined) return failed(path, 'larger than 4 MiB')
    const text = textOf(bytes)
    if (text === undefined) return failed(path, 'not a UTF-8 text file')
    const { pattern, replacement, firstOnly } = replacing
    const replaced = pattern.replace(text, replacement, firstOnly)
    if (replaced === undefined) return failed(path, 'too large for this pattern')
    if (replaced.count === 0) return { path, replacements: 0, success: true }
    const after = new TextEncoder().encode(replaced.text)
    if (after.byteLength > mostBytes) return failed(path, 'larger than 4 MiB afterwards')
    await writeFile(call, id, { path }, after)
    noteCall(call, id, 'file.uploaded', { path, bytes: after.byteLength })
    return { path, replacements: replaced.count, success: true }
  } catch (thrown) {
    const fault = faultOf(thrown, { conflict: 'S212' })
    if (fault instanceof Fault) return failed(path, `${fault.code}: ${fault.message}`)
    throw thrown
  }
}

function failed(path: string, error: string): FileResult {
  return { path, replacements: 0, success: false, error }
}
