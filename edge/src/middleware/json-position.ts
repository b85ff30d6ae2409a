/** Where a text stops being JSON. The platform's parser tells that in some cases only, and repeats the text in others. */

export interface Break {
  /** Both count from 1. */
  readonly line: number
  readonly column: number
  /** What stands there. */
  readonly found: string
}

const space = /[ \t\n\r]*/y
const scalar = /true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON forbids exactly these in strings
const string = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y

/** What may come next. */
type Expected = 'value' | 'value or ]' | 'key' | 'key or }' | 'colon' | 'comma or end'

/** The first place where a text that is no JSON goes wrong; its end, if it only breaks off. */
export function whereJsonBreaks(text: string): Break {
  return describe(text, scan(text))
}

function scan(text: string): number {
  const open: ('{' | '[')[] = []
  let expected: Expected = 'value'
  let at = 0
  for (;;) {
    at += lengthOf(space, text, at)
    if (at >= text.length || (expected === 'comma or end' && open.length === 0)) return at
    const char = text[at] ?? ''
    const next = step(expected, char, open)
    if (next === undefined) {
      const length = lengthAt(expected, text, at)
      if (length === 0) return at
      at += length
      expected = expected.startsWith('key') ? 'colon' : 'comma or end'
    } else {
      at++
      expected = next
    }
  }
}

/** What comes after a structural character; undefined if there is none here, or none that may stand here. */
function step(expected: Expected, char: string, open: ('{' | '[')[]): Expected | undefined {
  const inObject = open.at(-1) === '{'
  if (expected.startsWith('value') && (char === '{' || char === '[')) {
    open.push(char)
    return char === '{' ? 'key or }' : 'value or ]'
  }
  if (expected === 'colon' && char === ':') return 'value'
  if (expected === 'comma or end' && char === ',') return inObject ? 'key' : 'value'
  const closes =
    (char === '}' && inObject && (expected === 'key or }' || expected === 'comma or end')) ||
    (char === ']' && !inObject && (expected === 'value or ]' || expected === 'comma or end'))
  if (!closes) return undefined
  open.pop()
  return 'comma or end'
}

/** How long the key or plain value is that stands here. */
function lengthAt(expected: Expected, text: string, at: number): number {
  if (expected.startsWith('key')) return lengthOf(string, text, at)
  if (!expected.startsWith('value')) return 0
  return lengthOf(scalar, text, at) || lengthOf(string, text, at)
}

function lengthOf(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at
  return pattern.exec(text)?.[0].length ?? 0
}

function describe(text: string, at: number): Break {
  const before = text.slice(0, at)
  const line = before.split('\n').length
  const column = at - (before.lastIndexOf('\n') + 1) + 1
  const char = String.fromCodePoint(text.codePointAt(at) ?? 0)
  return { line, column, found: at >= text.length ? 'the text ends too early' : `unexpected ${JSON.stringify(char)}` }
}
