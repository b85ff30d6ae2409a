/** A process of a measurement: started, awaited until it says that it is ready, asked what it has cost, ended. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'

/** What the kernel counts processor time in. */
const ticksPerSecond = 100
const readyLimitMs = 20_000

export class MeasuredProcess implements AsyncDisposable {
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  /** Starts one that says nothing when it is ready. */
  static launch(command: readonly string[], directory: string): MeasuredProcess {
    return new MeasuredProcess(
      spawn('setpriv', ['--pdeathsig', 'TERM', ...command], { cwd: directory, stdio: 'ignore' }),
    )
  }

  /** Resolves once it has printed a line for which `ready` has an answer. `descriptor` 3 is a control pipe, 1 its output. */
  static async start<Value>(
    command: readonly string[],
    environment: Readonly<Record<string, string>>,
    descriptor: 1 | 3,
    ready: (line: string) => Value | undefined,
  ): Promise<{ process: MeasuredProcess; said: Value }> {
    const child = spawn('setpriv', ['--pdeathsig', 'TERM', ...command], {
      env: { ...process.env, ...environment },
      stdio: ['ignore', descriptor === 1 ? 'pipe' : 'ignore', 'ignore', 'pipe'],
    })
    const started = new MeasuredProcess(child)
    const stream = child.stdio[descriptor] as NodeJS.ReadableStream
    const limit = setTimeout(() => child.kill('SIGKILL'), readyLimitMs)
    try {
      for await (const line of createInterface({ input: stream })) {
        const said = ready(line)
        if (said !== undefined) return { process: started, said }
      }
      throw new Error(`cannot measure: ${command.at(-1)} did not become ready`)
    } catch (error) {
      await started[Symbol.asyncDispose]()
      throw error
    } finally {
      clearTimeout(limit)
    }
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exited = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exited
  }
}

/** Processor seconds that a process has taken so far. */
export async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
}
