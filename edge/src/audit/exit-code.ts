/** The exit code out of an agent's answer, which begins with it. Only the first bytes are looked at; the rest passes through as it comes. */

/** So much comes in one piece from an agent whose command said little; it is read whole. */
const smallBytes = 65_536
const decoder = new TextDecoder()

/** The code, or null if the answer does not begin as an agent's does; and the body, as it was. */
export async function readExitCode(answer: Response): Promise<{ exitCode: number | null; body: BodyInit | null }> {
  if (answer.body === null) return { exitCode: null, body: null }
  const length = Number(answer.headers.get('content-length') ?? Number.NaN)
  if (length <= smallBytes) {
    const bytes = new Uint8Array(await answer.arrayBuffer())
    return { exitCode: exitCodeOf(bytes), body: bytes }
  }
  const reader = answer.body.getReader()
  const { value: first } = await reader.read()
  reader.releaseLock()
  if (first === undefined) return { exitCode: null, body: null }
  const { readable, writable } = new IdentityTransformStream()
  void forward(answer.body, first, writable)
  return { exitCode: exitCodeOf(first), body: readable }
}

/** Of an agent's answer, given its beginning. */
export function exitCodeOf(beginning: Uint8Array): number | null {
  const text = decoder.decode(beginning.subarray(0, 64))
  const match = /^\{"exit_code":(-?\d{1,10})[,}]/.exec(text)
  return match === null ? null : Number(match[1])
}

/** A side that fails is told by the other: the caller's stream breaks, or the guest's is cancelled. */
async function forward(body: ReadableStream, first: Uint8Array, writable: WritableStream): Promise<void> {
  try {
    const writer = writable.getWriter()
    await writer.write(first)
    writer.releaseLock()
    await body.pipeTo(writable)
  } catch (thrown) {
    await body.cancel(thrown).catch(() => undefined)
  }
}
