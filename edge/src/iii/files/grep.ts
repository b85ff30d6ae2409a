/** `sandbox::fs::grep`: the lines below a path that match. The sandbox searches; globs and depth are looked at here. */

import { searchResult } from '@portico/shared/api'
import { z } from 'zod'
import type { KeyCall } from '../../call.ts'
import { askGuest } from '../../process/ask.ts'
import { Fault } from '../errors.ts'
import { iiiFunction } from '../functions.ts'
import { inSandbox } from '../named-sandbox.ts'
import { withFaults } from './faults.ts'
import { filterOf } from './glob.ts'
import { absolute } from './paths.ts'
import { loadPatterns } from './patterns.ts'

const waitMs = 60_000
/** As many as the agent tells. */
const mostMatches = 10_000
const usualLineBytes = 4096
const globs = z.array(z.string()).nullish()
const flag = z.boolean().nullish()

/** Where grep and sed look. */
export const treeFields = { recursive: flag, include_glob: globs, exclude_glob: globs } as const

export interface Search {
  /** Absolute. */
  readonly path: string
  readonly pattern: string
  readonly literal?: boolean
  readonly ignoreCase: boolean
  readonly recursive: boolean
  readonly include: readonly string[]
  readonly exclude: readonly string[]
}

export const grep = iiiFunction({
  id: 'sandbox::fs::grep',
  needs: 'read',
  schema: z.object({
    sandbox_id: z.string(),
    path: z.string(),
    pattern: z.string(),
    ...treeFields,
    ignore_case: flag,
    max_matches: z.int().min(0).nullish(),
    max_line_bytes: z.int().min(0).nullish(),
  }),
  handle: (payload, context) =>
    inSandbox(context, payload.sandbox_id, async (id) => {
      const most = Math.min(payload.max_matches ?? mostMatches, mostMatches)
      const search = { ...searchOf(payload), pattern: payload.pattern, ignoreCase: payload.ignore_case === true }
      const found = await searchIn(context.call(id), id, search)
      const matches = found.matches.slice(0, most).map(({ path, line, text }) => ({
        path,
        line,
        content: shortened(text, payload.max_line_bytes ?? usualLineBytes),
      }))
      return { matches, truncated: found.truncated || found.matches.length > most }
    }),
})

/** Where a payload says to look. */
export function searchOf(payload: {
  readonly path: string
  readonly recursive?: boolean | null | undefined
  readonly include_glob?: readonly string[] | null | undefined
  readonly exclude_glob?: readonly string[] | null | undefined
}): Pick<Search, 'path' | 'recursive' | 'include' | 'exclude'> {
  return {
    path: absolute(payload.path),
    recursive: payload.recursive !== false,
    include: payload.include_glob ?? [],
    exclude: payload.exclude_glob ?? [],
  }
}

/** What the sandbox finds. S217 for what is no pattern. */
export async function searchIn(call: KeyCall, id: string, search: Search) {
  const { path, pattern, literal = false, ignoreCase, recursive, include, exclude } = search
  if (pattern === '') throw new Fault('S210', 'the pattern is empty')
  const filter = filterOf(await loadPatterns(), include, exclude)
  const [only] = include
  // One plain name is the agent's to look at: it finds more before its limit.
  const glob = include.length === 1 && only !== undefined && /^[A-Za-z0-9._*?-]+$/.test(only) && !only.includes('**')
  const json = {
    path,
    pattern,
    literal,
    ignore_case: ignoreCase,
    max_results: mostMatches,
    ...(glob ? { glob: only } : {}),
  }
  const question = { method: 'POST', path: '/files/search', json, waitMs } as const
  const found = await withFaults(askGuest(call, id, question, searchResult), {
    invalid_request: 'S217',
    conflict: 'S212',
  })
  const root = path.replace(/\/+$/, '')
  const matches = found.matches.filter((match) => {
    if (match.path_base64 !== undefined) return false
    const relative =
      match.path === root ? match.path.slice(match.path.lastIndexOf('/') + 1) : match.path.slice(root.length + 1)
    return (recursive || !relative.includes('/')) && filter(relative)
  })
  return { matches, truncated: found.truncated }
}

/** A line's beginning, in bytes of UTF-8. */
function shortened(text: string, most: number): string {
  const bytes = new TextEncoder().encode(text)
  if (bytes.byteLength <= most) return text
  // A character that was cut in two is left out.
  return new TextDecoder().decode(bytes.subarray(0, most), { stream: true })
}
