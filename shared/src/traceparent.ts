/** The W3C's `traceparent`: which trace a call belongs to, and under which span. One that is malformed is none; it is never an error. */

const form = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?$/
/** Room for what later versions may add. */
const longest = 128

/** A caller's `traceparent` if it is one, as it may go on. */
export function parseTraceparent(text: string | null | undefined): string | undefined {
  if (text == null || text.length > longest || !form.test(text)) return undefined
  // The first version ends with its flags.
  return text.startsWith('00-') && text.length > 55 ? undefined : text
}
