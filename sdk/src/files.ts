/** Files of a sandbox. Paths are absolute. */

import { fileList, uploadResponse } from '@portico/shared/api'
import { ValidationError } from './errors.ts'
import { shortMs, uploadMs } from './limits.ts'
import type { Bytes, Transport } from './transport.ts'

/** What can be written to a file. */
export type FileContent = string | Uint8Array | Blob | ReadableStream<Uint8Array>

export interface WriteOptions {
  /** Permission bits, such as `0o755`; 0o644 unless told. */
  readonly mode?: number | undefined
  readonly signal?: AbortSignal | undefined
}

export interface FileOptions {
  readonly signal?: AbortSignal | undefined
}

/** A file as it was written. */
export interface WrittenFile {
  readonly path: string
  readonly size: number
}

/** An entry of a directory. */
export interface FileEntry {
  readonly name: string
  readonly type: 'file' | 'directory' | 'symlink' | 'other'
  readonly size: number
  /** Permission bits in octal, such as `755`. */
  readonly mode: string
  readonly modifiedAt: Date
}

export class SandboxFiles {
  readonly #transport: Transport
  readonly #path: string

  /** @internal Made by Sandbox alone. */
  constructor(transport: Transport, sandboxPath: string) {
    this.#transport = transport
    this.#path = `${sandboxPath}/files`
  }

  /** Writes a file, replacing what was there in one step; makes the directories above it. A stream is sent as it is read. */
  async write(path: string, content: FileContent, options: WriteOptions = {}): Promise<WrittenFile> {
    const { mode, signal } = options
    const permissions = mode === undefined ? '' : `&mode=${mode.toString(8)}`
    const source = content instanceof ReadableStream ? new Watched(content) : undefined
    const bytes = source?.stream ?? content
    if (!isBody(bytes)) throw notContent(path)
    try {
      return await this.#transport.json(
        {
          method: 'POST',
          path: `${this.#path}/upload?path=${encodeURIComponent(path)}${permissions}`,
          doing: `write ${path}`,
          limitMs: uploadMs,
          bytes,
          signal,
        },
        uploadResponse,
      )
    } catch (error) {
      // A source that breaks off is the caller's to know, not a network that failed.
      throw source?.failure === undefined ? error : source.failure.reason
    }
  }

  /** The whole file. */
  async read(path: string, options: FileOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
    return new Uint8Array(await new Response(await this.stream(path, options)).arrayBuffer())
  }

  /** The whole file as UTF-8 text. */
  async readText(path: string, options: FileOptions = {}): Promise<string> {
    return new TextDecoder().decode(await this.read(path, options))
  }

  /** The file as it arrives. Read it to its end or cancel it. */
  async stream(path: string, options: FileOptions = {}): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    return await this.#transport.stream({
      method: 'GET',
      path: `${this.#path}/download?path=${encodeURIComponent(path)}`,
      doing: `read ${path}`,
      limitMs: shortMs,
      repeatable: true,
      signal: options.signal,
    })
  }

  /** What is in a directory. */
  async list(path: string, options: FileOptions = {}): Promise<FileEntry[]> {
    const { details } = await this.#transport.json(
      {
        method: 'GET',
        path: `${this.#path}?path=${encodeURIComponent(path)}`,
        doing: `list ${path}`,
        limitMs: shortMs,
        repeatable: true,
        signal: options.signal,
      },
      fileList,
    )
    return details.map(({ modified_at, ...entry }) => ({ ...entry, modifiedAt: new Date(modified_at) }))
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

function notContent(path: string): ValidationError {
  return new ValidationError({
    code: 'invalid_request',
    message: `cannot write ${path}: the content is no text, bytes, Blob or ReadableStream`,
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
