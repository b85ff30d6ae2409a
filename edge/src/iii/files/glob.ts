/**
 * Which files of a tree are meant, by globs as ignore files have them: one without a slash is about a name at any depth, one with a slash about the path
 * from where the search began. `*` and `?` stop at slashes, `**` does not. Matched in linear time: globs are the caller's.
 */

import { Fault } from '../errors.ts'
import type { Pattern, Patterns } from './patterns.ts'

const mostGlobs = 64
const longest = 256

/** Whether a path, relative to where the search began, is meant. */
export type Filter = (relative: string) => boolean

export function filterOf(patterns: Patterns, include: readonly string[], exclude: readonly string[]): Filter {
  if (include.length + exclude.length > mostGlobs) throw new Fault('S210', `give at most ${mostGlobs} globs`)
  const [wanted, unwanted] = [include, exclude].map((globs) => globs.map((glob) => patternOf(patterns, glob)))
  const isIn = (set: readonly Pattern[] | undefined, path: string) =>
    set?.some((pattern) => pattern.matches(path)) === true
  return (relative) => (include.length === 0 || isIn(wanted, relative)) && !isIn(unwanted, relative)
}

function patternOf(patterns: Patterns, glob: string): Pattern {
  if (glob === '' || glob.length > longest) throw new Fault('S210', `a glob has 1 to ${longest} characters`)
  const isName = !glob.replace(/\/$/, '').includes('/')
  const trimmed = glob.replace(/^\//, '').replace(/\/$/, '')
  // What a glob names may be a directory, and with it all that is below.
  return patterns.compile(`^${isName ? '(?:.*/)?' : ''}${expressionOf(trimmed)}(?:/.*)?$`, true)
}

function expressionOf(glob: string): string {
  let out = ''
  for (let at = 0; at < glob.length; at++) {
    const char = glob.charAt(at)
    const isClass = char === '[' && glob.indexOf(']', at + 2) > 0
    if (glob.startsWith('**/', at)) {
      out += '(?:.*/)?'
      at += 2
    } else if (glob.startsWith('**', at)) {
      out += '.*'
      at += 1
    } else if (char === '*') out += '[^/]*'
    else if (char === '?') out += '[^/]'
    else if (isClass) {
      const end = glob.indexOf(']', at + 2)
      const inside = glob
        .slice(at + 1, end)
        .replace(/^!/, '^')
        .replaceAll(/[\\[\]&~]/g, '\\$&')
      out += `[${inside}]`
      at = end
    } else out += char.replace(/[.*+?^${}()|[\]\\]/, '\\$&')
  }
  return out
}
