/** One thing that the doctor looks at. */

export interface Point {
  readonly name: string
  readonly ok: boolean
  /** Whether sandboxes cannot run without it. */
  readonly required: boolean
  readonly detail: string
  /** What to do about it. */
  readonly mend?: string
}

export function good(name: string, detail: string, required = true): Point {
  return { name, ok: true, required, detail }
}

export function bad(name: string, detail: string, mend: string, required = true): Point {
  return { name, ok: false, required, detail, mend }
}

/** The points as lines for a person. */
export function report(points: readonly Point[]): string {
  const width = Math.max(...points.map(({ name }) => name.length))
  const lines = points.map(({ name, ok, required, detail, mend }) => {
    const mark = ok ? 'ok     ' : required ? 'missing' : 'without'
    const line = `${mark}  ${name.padEnd(width)}  ${detail}`
    return mend === undefined ? line : `${line}\n${' '.repeat(width + 11)}${mend}`
  })
  const missing = points.filter(({ ok, required }) => !ok && required).length
  const verdict = missing === 0 ? 'This host can run sandboxes.' : `This host cannot run sandboxes: ${missing} missing.`
  return `${[...lines, '', verdict].join('\n')}\n`
}
