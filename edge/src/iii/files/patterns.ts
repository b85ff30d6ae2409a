/**
 * Regular expressions of callers, in RE2's syntax and in time linear to the text: a pattern that would keep the platform's own engine busy for ever does
 * not exist here. The engine is loaded when it is first needed.
 */

import type { RE2JS } from 're2js'
import { Fault } from '../errors.ts'

const longest = 4096
/** Steps of the pattern's program times characters: some seconds at the very worst. */
const mostWork = 200_000_000

export interface Replaced {
  readonly text: string
  readonly count: number
}

export interface Pattern {
  matches(text: string): boolean
  /** Replaces all matches, or the first. Undefined where pattern and text together are too much. */
  replace(text: string, replacement: (match: Match) => string, firstOnly: boolean): Replaced | undefined
}

/** One match: its groups by number, and by name. */
export interface Match {
  group(name: string): string
}

export interface Patterns {
  /** S217 for what is no pattern. With `plain`, its ^ and $ are about the text, else about lines. */
  compile(source: string, plain: boolean, ignoreCase?: boolean): Pattern
  /** A pattern that means the text itself. */
  quote(text: string): string
}

export async function loadPatterns(): Promise<Patterns> {
  const engine = await import('re2js')
  return {
    quote: (text) => engine.RE2JS.quote(text),
    compile(source, plain, ignoreCase = false) {
      if (source === '' || source.length > longest) throw new Fault('S210', `a pattern has 1 to ${longest} characters`)
      const { MULTILINE, CASE_INSENSITIVE } = engine.RE2JS
      const flags = (plain ? 0 : MULTILINE) | (ignoreCase ? CASE_INSENSITIVE : 0)
      try {
        return patternOf(engine.RE2JS.compile(source, flags))
      } catch (thrown) {
        throw new Fault('S217', `invalid regex: ${thrown instanceof Error ? thrown.message : 'it cannot be read'}`)
      }
    },
  }
}

function patternOf(compiled: RE2JS): Pattern {
  return {
    matches: (text) => compiled.matcher(text).find(),
    replace(text, replacement, firstOnly) {
      if (compiled.programSize() * text.length > mostWork) return undefined
      const names = compiled.namedGroups() as Readonly<Record<string, number>>
      const matcher = compiled.matcher(text)
      const match: Match = {
        group: (name) => {
          const number = /^\d+$/.test(name) ? Number(name) : Object.hasOwn(names, name) ? names[name] : undefined
          return number === undefined || number > matcher.groupCount() ? '' : (matcher.group(number) ?? '')
        },
      }
      let out = ''
      let from = 0
      let count = 0
      while (matcher.find()) {
        const [start, end] = [matcher.start(), matcher.end()]
        // Nothing right behind a match is no match of its own.
        if (start === end && count > 0 && start === from) continue
        out += text.slice(from, start) + replacement(match)
        from = end
        count++
        if (firstOnly) break
      }
      return { text: out + text.slice(from), count }
    },
  }
}

/** A replacement as iii spells it: `$1`, `$name`, `${name}`, and `$$` for a dollar. What no group has is nothing. */
export function expansionOf(replacement: string): (match: Match) => string {
  const parts = replacement.split(/(\$\$|\$\{[^{}]+\}|\$[0-9A-Za-z_]+)/)
  return (match) =>
    parts
      .map((part, index) => {
        if (index % 2 === 0) return part
        return part === '$$' ? '$' : match.group(part.replaceAll(/[${}]/g, ''))
      })
      .join('')
}
