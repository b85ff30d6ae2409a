/** The CLI as a process of its own: what it printed, how it ended, and its signals. */

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

export const portico = join(import.meta.dirname, '..', 'bin', 'portico.js')

/** As its first line starts it. */
export const direct = [process.execPath, '--conditions=portico-source', portico]

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export class Running {
  stdout = ''
  stderr = ''
  readonly child: ChildProcessWithoutNullStreams
  readonly #ended: Promise<Ended>

  constructor(command: readonly string[], env: Readonly<Record<string, string>>) {
    const [file = '', ...args] = command
    const PATH = process.env.PATH ?? ''
    this.child = spawn(file, args, { env: { PATH, TERM: 'xterm', ...env } })
    this.child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text
    })
    this.child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
    })
    // A child that ends without reading its input is what some tests want.
    this.child.stdin.on('error', () => undefined)
    this.#ended = once(this.child, 'close').then(([code]) => ({
      code: code as number | null,
      stdout: this.stdout,
      stderr: this.stderr,
    }))
  }

  /** Resolves when it has printed a text on standard output. */
  async printed(text: string): Promise<void> {
    while (!this.stdout.includes(text)) await once(this.child.stdout, 'data')
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }

  /** Resolves when it is gone and its streams are closed. */
  ended(): Promise<Ended> {
    return this.#ended
  }
}

/** Runs the CLI to its end. */
export async function cli(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  input?: string | Buffer,
): Promise<Ended> {
  const running = new Running([...direct, ...args], env)
  running.child.stdin.end(input)
  return await running.ended()
}
