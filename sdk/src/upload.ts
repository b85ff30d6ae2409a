/** A body on its way to a file: what `fetch` takes as it is, and a source that remembers why it broke off. */

import { ValidationError } from './errors.ts'
import type { Bytes } from './transport.ts'

/** What can be written to a file. */
export type FileContent = string | Uint8Array | Blob | ReadableStream<Uint8Array>

/** @internal Sends content by `send`; a source that breaks off is the caller's to know, not a network that failed. */
export async function upload<Answer>(
  doing: string,
  content: FileContent,
  send: (bytes: Bytes) => Promise<Answer>,
): Promise<Answer> {
  const source = content instanceof ReadableStream ? new Watched(content) : undefined
  const bytes = source?.stream ?? content
  if (!isBody(bytes)) throw notContent(doing)
  try {
    return await send(bytes)
  } catch (error) {
    throw source?.failure === undefined ? error : source.failure.reason
  }
}

/** Whether `fetch` takes it as it is. A caller without types may hand over anything, such as a Node stream. */
function isBody(content: FileContent): content is Bytes {
  return (
    typeof content === 'string' ||
    content instanceof Uint8Array ||
    content instanceof Blob ||
    content instanceof ReadableStream
  )
}

function notContent(doing: string): ValidationError {
  return new ValidationError({
    code: 'invalid_request',
    message: `cannot ${doing}: the content is no text, bytes, Blob or ReadableStream`,
    status: 0,
    retryable: false,
    hint: "A stream of Node's becomes one by Readable.toWeb(stream).",
  })
}

/** A stream that remembers why it broke off. */
class Watched {
  readonly stream: ReadableStream<Uint8Array>
  failure: { readonly reason: unknown } | undefined

  constructor(source: ReadableStream<Uint8Array>) {
    const reader = source.getReader()
    this.stream = new ReadableStream(
      {
        pull: async (controller) => {
          try {
            const chunk = await reader.read()
            if (chunk.done) controller.close()
            else controller.enqueue(chunk.value)
          } catch (reason) {
            this.failure = { reason }
            throw reason
          }
        },
        cancel: (reason) => reader.cancel(reason),
      },
      { highWaterMark: 0 },
    )
  }
}
