/**
 * The code of a documentation page that was saved as plain text, block by block, as it is printed: programs, HTTP request lines, and JSON that such a
 * request sends or is answered with. What is prose is told by how its lines begin.
 */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { root } from '@portico/deploy/checkout'

export interface Snippet {
  readonly kind: 'program' | 'request' | 'json'
  readonly text: string
}

const folder = join(root, '..', 'shared', 'seeds')
const programLine = /^(import |const |await |for \(|if \(|console\.|\/\/ )/
/** Inside of a block: what is indented or closes something. */
const followingLine = /^(\s|[})\]])/
const requestLine = /^(GET|POST|PUT|DELETE) \/v1\//

/** A page as it was saved. */
export async function readPage(page: string): Promise<string> {
  return await readFile(join(folder, page), 'utf8')
}

/** Every block of a page, in its order. */
export async function snippetsOf(page: string): Promise<Snippet[]> {
  const lines = (await readPage(page)).split('\n')
  const found: Snippet[] = []
  for (let at = 0; at < lines.length; ) {
    const kind = kindOf(lines[at] ?? '')
    const end = kind === undefined ? at + 1 : endOf(lines, at, kind)
    if (kind !== undefined) found.push({ kind, text: lines.slice(at, end).join('\n') })
    at = end
  }
  return found
}

function kindOf(line: string): Snippet['kind'] | undefined {
  if (requestLine.test(line)) return 'request'
  if (line.startsWith('{')) return 'json'
  return programLine.test(line) ? 'program' : undefined
}

/** The line behind the block that begins at `from`. A blank line ends it unless code goes on behind it. */
function endOf(lines: readonly string[], from: number, kind: Snippet['kind']): number {
  if (kind === 'request') return from + 1
  let end = from + 1
  for (let at = end; at < lines.length; at++) {
    const line = lines[at] ?? ''
    if (line === '') continue
    const goesOn = followingLine.test(line) || (kind === 'program' && programLine.test(line))
    if (!goesOn) break
    end = at + 1
  }
  return end
}
