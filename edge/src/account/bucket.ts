/**
 * An account's requests per second as a token bucket. It holds as many tokens as one second's and fills evenly. Pure; the object that
 * keeps one keeps it in memory only, so a restart fills it at most once.
 */

export interface Bucket {
  /** Whole and parts of tokens. */
  readonly tokens: number
  /** When it had so many, in milliseconds. */
  readonly at: number
}

/** A full one. */
export function fullBucket(perSecond: number, now: number): Bucket {
  return { tokens: perSecond, at: now }
}

/** Takes up to `asked` whole tokens. A clock that goes backwards adds none, and a limit that was lowered takes the surplus away. */
export function take(
  bucket: Bucket,
  perSecond: number,
  asked: number,
  now: number,
): { readonly bucket: Bucket; readonly got: number } {
  const at = Math.max(bucket.at, now)
  const tokens = Math.min(perSecond, bucket.tokens + ((at - bucket.at) * perSecond) / 1000)
  const got = Math.min(Math.max(0, Math.floor(asked)), Math.floor(tokens))
  return { bucket: { tokens: tokens - got, at }, got }
}
