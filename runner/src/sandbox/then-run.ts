/** The body, and then, however its reading ends, a step. */
export async function* thenRun(body: AsyncIterable<Uint8Array>, run: () => void): AsyncGenerator<Uint8Array> {
  try {
    yield* body
  } finally {
    run()
  }
}
