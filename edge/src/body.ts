/** Bodies on their way through: read in large pieces, and dropped when nobody wants them any more. */

/** One read takes this much at most. */
const pieceLength = 65_536

/**
 * What is read and dropped of a body that was refused. Some clients see a refusal only once they have sent everything, and fail with a
 * broken pipe otherwise; so small leftovers are taken off their hands, and whoever sends more than this loses the connection.
 */
export const dropped = { bytes: 67_108_864, ms: 10_000 } as const

/** The pieces of a body. */
export async function* pieces(body: ReadableStream): AsyncGenerator<Uint8Array, void> {
  const reader = body.getReader({ mode: 'byob' })
  try {
    for (;;) {
      const { done, value } = await reader.read(new Uint8Array(pieceLength))
      if (value !== undefined && value.byteLength > 0) yield value
      if (done) return
    }
  } finally {
    reader.releaseLock()
  }
}

/** Reads the rest of a refused body and drops it, up to a bound in bytes and time. Never throws. */
export async function drop(body: ReadableStream, limits: { bytes: number; ms: number } = dropped): Promise<void> {
  const until = Date.now() + limits.ms
  let left = limits.bytes
  try {
    for await (const piece of pieces(body)) {
      left -= piece.byteLength
      if (left < 0 || Date.now() > until) break
    }
    await body.cancel()
  } catch {
    // The client has gone, which ends it as well.
  }
}
