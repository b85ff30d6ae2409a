/**
 * The lines of a build file, as Docker writes them: `NAME rest`, with `\` at a line's end to go on, and comments on lines of their own. What is wrong is told with its line.
 */

import { CommandError } from '../command-error.ts'

export interface Instruction {
  readonly line: number
  /** In capitals. */
  readonly name: string
  readonly rest: string
}

/** Something is wrong with a line of a build file. */
export class BuildFileError extends CommandError {
  constructor(file: string, line: number, why: string, hint?: string) {
    super(`cannot use ${file}:${line}: ${why}`, hint)
  }
}

export function instructions(file: string, text: string): readonly Instruction[] {
  const found: Instruction[] = []
  let begun: { line: number; text: string } | undefined
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const isComment = /^\s*#/.test(raw)
    if (isComment || (begun === undefined && raw.trim() === '')) continue
    const line = begun?.line ?? index + 1
    const whole = (begun?.text ?? '') + raw
    begun = undefined
    if (/\\\s*$/.test(raw)) begun = { line, text: whole.replace(/\\\s*$/, '') }
    else found.push(instruction(line, whole))
  }
  if (begun !== undefined) throw new BuildFileError(file, begun.line, 'it goes on after the end of the file')
  return found
}

function instruction(line: number, text: string): Instruction {
  const [, name = '', rest = ''] = /^\s*(\S+)\s*(.*)$/s.exec(text) ?? []
  return { line, name: name.toUpperCase(), rest: rest.trim() }
}

/** Words as a shell reads them: quotes and backslashes are taken off. Throws a line that says what is wrong. */
export function words(text: string): readonly string[] {
  const found: string[] = []
  const pattern = /\s+|((?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^\s'"\\])+)/gsy
  while (pattern.lastIndex < text.length) {
    const at = pattern.lastIndex
    const match = pattern.exec(text)
    if (match === null) throw new Error(`a quote is not closed: ${text.slice(at)}`)
    if (match[1] !== undefined) found.push(unquoted(match[1]))
  }
  return found
}

function unquoted(word: string): string {
  return word.replaceAll(/'([^']*)'|"((?:\\.|[^"\\])*)"|\\(.)|\$/gs, (part, single, double, escaped) => {
    if (part === '$') throw new Error(`variables are not expanded here: put ${word} into single quotes`)
    if (single !== undefined) return single
    if (escaped !== undefined) return escaped
    if (/(?<!\\)(?:\\\\)*\$/.test(double)) throw new Error(`variables are not expanded here: escape the $ of ${word}`)
    return double.replaceAll(/\\(["\\$`])/g, '$1')
  })
}

/** A word as a shell takes it for itself. */
export function quoted(word: string): string {
  return /^[\w./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}
