/** What is said of a payload that does not have its function's shape, in the words of the engine that clients know. */

import type { z } from 'zod'

/** One line, such as: missing field `image`. */
export function whyUnreadable(payload: unknown, { issues: [issue] }: z.ZodError): string {
  const path = issue?.path ?? []
  const field = path.map(String).join('.')
  if (path.length === 0) return `invalid type: ${kindOf(payload)}, expected a map`
  if (valueAt(payload, path) === undefined) return `missing field \`${field}\``
  return `invalid value for field \`${field}\`: ${issue?.message ?? 'it does not fit'}`
}

function valueAt(payload: unknown, path: readonly PropertyKey[]): unknown {
  let value = payload
  for (const key of path) value = (value as Record<PropertyKey, unknown> | null | undefined)?.[key]
  return value
}

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return 'null'
  return Array.isArray(value) ? 'sequence' : typeof value
}
