/** A command whose output is told while it runs. It is a process that is kept, so that a connection that breaks loses nothing of it. */

import type { GuestCommand } from './command.ts'
import type { ExecOptions, ExecResult } from './exec.ts'
import { execDefaultSec, followedBufferBytes, keptBytes } from './limits.ts'
import type { Followed, ProcessExit } from './output.ts'
import type { Processes } from './spawn.ts'

type Listener = ((text: string) => unknown) | undefined

/** Runs a command to its end; the result is that of `exec` without listeners. */
export async function streamedExec(
  processes: Processes,
  command: GuestCommand,
  { onStdout, onStderr, onGap, timeoutSec = execDefaultSec, ...options }: ExecOptions,
): Promise<ExecResult> {
  const process = await processes.spawn(command, { ...options, timeoutSec, bufferBytes: followedBufferBytes })
  const stdout = new Kept(onStdout)
  const stderr = new Kept(onStderr)
  const take = async (item: Followed): Promise<ProcessExit | undefined> => {
    if (item.type === 'end') return item.exit
    if (item.type === 'gap') {
      // Of which of the two, nobody knows.
      stdout.truncated = stderr.truncated = true
      await onGap?.(item.lost)
    } else await (item.type === 'stdout' ? stdout : stderr).take(item.bytes)
    return undefined
  }
  try {
    for await (const item of process.follows({})) {
      const exit = await take(item)
      if (exit === undefined) continue
      await stdout.end()
      await stderr.end()
      return { ...exit, ...result(stdout, stderr) }
    }
    throw new Error('cannot run the command: its output has no end')
  } finally {
    // Over or not: nobody else knows of it.
    void process.discard()
  }
}

function result(stdout: Kept, stderr: Kept) {
  return {
    stdout: stdout.text(),
    stderr: stderr.text(),
    stdoutTruncated: stdout.truncated,
    stderrTruncated: stderr.truncated,
  }
}

/** One output: told as it comes, and kept from its beginning up to the limit. */
class Kept {
  truncated = false
  readonly #listener: Listener
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  readonly #pieces: Uint8Array[] = []
  #room = keptBytes

  constructor(listener: Listener) {
    this.#listener = listener
  }

  async take(bytes: Uint8Array): Promise<void> {
    if (bytes.length > this.#room) this.truncated = true
    if (this.#room > 0) this.#pieces.push(bytes.subarray(0, this.#room))
    this.#room = Math.max(0, this.#room - bytes.length)
    await this.#tell(this.#decoder.decode(bytes, { stream: true }))
  }

  async end(): Promise<void> {
    await this.#tell(this.#decoder.decode())
  }

  text(): string {
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
    const parts = this.#pieces.map((piece) => decoder.decode(piece, { stream: true }))
    return parts.join('') + decoder.decode()
  }

  async #tell(text: string): Promise<void> {
    if (text !== '') await this.#listener?.(text)
  }
}
