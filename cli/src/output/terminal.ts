/**
 * Our two streams. Standard output carries what was asked for and nothing else; standard error is for the person who watches. A reader that has gone
 * away (`| head -1`) is no error: what is left to say is dropped, and the work goes on to its end.
 */

import { CommandError } from '../command-error.ts'

export class Terminal {
  readonly #output: NodeJS.WriteStream
  readonly #errors: NodeJS.WriteStream

  constructor(output: NodeJS.WriteStream, errors: NodeJS.WriteStream) {
    this.#output = output
    this.#errors = errors
    // Each failure also comes to whoever wrote, and is judged there.
    for (const stream of [output, errors]) stream.on('error', () => undefined)
  }

  /** Whether a person watches what happens meanwhile. */
  get watched(): boolean {
    return this.#errors.isTTY === true && process.env.TERM !== 'dumb'
  }

  /** Whether standard output is a terminal. */
  get isTerminal(): boolean {
    return this.#output.isTTY === true
  }

  /** Its size, where standard output is a terminal that knows it. */
  get size(): { readonly cols: number; readonly rows: number } | undefined {
    const { columns, rows } = this.#output
    return this.#output.isTTY === true && columns > 0 && rows > 0 ? { cols: columns, rows } : undefined
  }

  /** Writes to standard output; resolves once it is out. */
  async print(text: string | Uint8Array): Promise<void> {
    await write(this.#output, text)
  }

  /** Prints a line of JSON, for a program. */
  async printJson(value: unknown): Promise<void> {
    await write(this.#output, `${JSON.stringify(value)}\n`)
  }

  /** Resolves once all that was ever written is out, or cannot be. */
  async flush(): Promise<void> {
    for (const stream of [this.#output, this.#errors])
      if (!stream.destroyed) await new Promise<void>((resolve) => stream.write('', () => resolve()))
  }

  /** Writes to standard error; resolves once it is out, or cannot be: there is nowhere left to say so. */
  async complain(text: string | Uint8Array): Promise<void> {
    await write(this.#errors, text).catch(() => undefined)
  }
}

function write(stream: NodeJS.WriteStream, text: string | Uint8Array): Promise<void> {
  if (text.length === 0 || stream.destroyed) return Promise.resolve()
  return new Promise((resolve, reject) =>
    stream.write(text, (error) => {
      if (!error || ('code' in error && error.code === 'EPIPE')) resolve()
      else reject(new CommandError(`cannot write the output: ${error.message}`))
    }),
  )
}
