/** The three shapes of a command: `argv` alone, `cmd` with `args`, or `cmd` as one line, which is split at its spaces as a shell would, and no shell reads it. */

import { Fault } from '../errors.ts'

export interface Shapes {
  readonly cmd?: string | null | undefined
  readonly args?: readonly string[] | null | undefined
  readonly argv?: readonly string[] | null | undefined
}

/** The arguments, the program first. S001 for a mixture, for none, and for quotes that do not close. */
export function argumentsOf({ cmd, args, argv }: Shapes): string[] {
  const list = argv ?? undefined
  if (list !== undefined && (cmd != null || (args?.length ?? 0) > 0)) {
    throw new Fault('S001', 'give argv alone, or cmd with args, not both')
  }
  const words = list ?? ((args?.length ?? 0) > 0 ? [cmd ?? '', ...(args ?? [])] : split(cmd ?? ''))
  if (words[0] === undefined || words[0] === '') throw new Fault('S001', 'there is no command: give cmd or argv')
  if (words.some((word) => word.includes('\0'))) throw new Fault('S001', 'a command has no NUL in it')
  return [...words]
}

/** Words of a line: quotes hold one together, a backslash takes the next character as it is. Nothing is expanded. */
function split(line: string): string[] {
  const words: string[] = []
  // Between quotes, inside a word, or between two.
  const piece = /\s+|'([^']*)'|"((?:[^"\\]|\\[\s\S])*)"|\\([\s\S])|([^\s'"\\]+)/gy
  let word: string | undefined
  let end = 0
  for (const match of line.matchAll(piece)) {
    end = match.index + match[0].length
    const [, single, double, escaped, plain] = match
    const part = single ?? double?.replaceAll(/\\(["\\$`])/g, '$1').replaceAll('\\\n', '') ?? escaped ?? plain
    if (part !== undefined) word = (word ?? '') + part
    else if (word !== undefined) {
      words.push(word)
      word = undefined
    }
  }
  if (end !== line.length) throw new Fault('S001', 'cmd cannot be split into words: a quote or a backslash has no end')
  return word === undefined ? words : [...words, word]
}
