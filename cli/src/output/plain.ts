/** What the SDK answers, as JSON can say it: bytes become base64, under a name that says so. */

export function plain<Value extends object>(value: Value): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(value).map(([name, one]) =>
      one instanceof Uint8Array ? [name.replace(/Bytes$/, 'Base64'), Buffer.from(one).toString('base64')] : [name, one],
    ),
  )
}

/** A field as people read it. */
export function fieldText(value: unknown): string {
  if (value instanceof Date) return value.toISOString()
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}
