/**
 * The code of the page on iii's sandboxes, block by block, as it is printed. The page was saved without the spaces that a line begins with: programs and shell
 * lines mean the same without, so their blocks end where their brackets close; what YAML means by its columns is put back by what its keys are.
 */

import { readPage } from './seed-snippets.ts'
import { openedBy } from './snippet-run.ts'

export interface IiiSnippet {
  /** A synopsis is how a command is called, with `<arguments>` and `[options]`; an error is a message as it arrives. */
  readonly kind: 'program' | 'shell' | 'synopsis' | 'yaml' | 'error'
  readonly text: string
}

const begins = {
  program: /^(const |await |if \(|try \{|console\.|\/\/ )/,
  shell: /^(SB=\$\()?iii sandbox \w+ [^[<]*$/,
  synopsis: /^iii sandbox \w+ [^$]*[[<]/,
  yaml: /^workers:$/,
  error: /^handler error: \{"/,
} as const
const yamlLine = /^(- )?[\w-]+:( \S+)?$|^- \S+$/

/** Every block of the page, in its order. */
export async function iiiSnippets(): Promise<IiiSnippet[]> {
  return blocksOf((await readPage('iii-sandbox-api.txt')).split('\n'))
}

export function blocksOf(lines: readonly string[]): IiiSnippet[] {
  const found: IiiSnippet[] = []
  for (let at = 0; at < lines.length; ) {
    const kind = kindOf(lines[at] ?? '')
    const end = kind === undefined ? at + 1 : endOf(lines, at, kind)
    if (kind !== undefined) {
      const text = lines.slice(at, end)
      found.push({ kind, text: (kind === 'yaml' ? indented(text) : text).join('\n') })
    }
    at = end
  }
  return found
}

function kindOf(line: string): IiiSnippet['kind'] | undefined {
  return (Object.keys(begins) as IiiSnippet['kind'][]).find((kind) => begins[kind].test(line))
}

/** The line behind the block that begins at `from`. */
function endOf(lines: readonly string[], from: number, kind: IiiSnippet['kind']): number {
  let depth = 0
  for (let at = from; at < lines.length; at++) {
    const line = lines[at] ?? ''
    const goesOn = depth > 0 || lines[at - 1]?.endsWith('\\')
    if (at > from && !goesOn && kindOf(line) !== kind && !(kind === 'yaml' && yamlLine.test(line))) return at
    if (kind === 'program') depth += openedBy(line)
  }
  return lines.length
}

/** A `workers:` block with its columns: each worker a list item, what it has below `config`, and lists and maps below those that have no value. */
function indented(lines: readonly string[]): string[] {
  let inMap = false
  return lines.map((line) => {
    if (line === 'workers:') return line
    if (line.startsWith('- name:')) return `  ${line}`
    if (line === 'config:') return `    ${line}`
    const isItem = line.startsWith('- ') || (inMap && !/^[a-z_]+:( |$)/.test(line))
    if (!isItem) inMap = line === 'custom_images:' || line === 'per_image_caps:'
    return `${' '.repeat(isItem ? 8 : 6)}${line}`
  })
}
