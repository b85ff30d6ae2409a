/**
 * QEMU's process as the runner holds it: started in its jail, known by pid and start time, ended by force. It owns the child (`bwrap`, which waits
 * for QEMU) and makes sure that neither outlives the other.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import type { Readable } from 'node:stream'
import { abortable, deadline } from '@portico/shared/dispose'
import { AppError } from '@portico/shared/errors'
import { killProcess } from '../../process/kill.ts'
import { Proc, type ProcessIdentity } from '../../process/proc.ts'
import { killGroup } from '../../process/run.ts'
import { TextRing } from '../text-ring.ts'
import type { ProcessExit, VmProcess } from './vm-process.ts'

/** The child's descriptor numbers after standard error. */
export const descriptors = { info: 3, kvm: 4 } as const

const startLimitMs = 10_000
const killLimitMs = 10_000
const reapLimitMs = 2000
const errorTextBytes = 4096

export class JailedProcess implements VmProcess {
  readonly identity: ProcessIdentity
  /** Resolves when the process is gone. */
  readonly exited: Promise<ProcessExit>
  readonly #child: ChildProcess
  readonly #errors: TextRing

  private constructor(child: ChildProcess, identity: ProcessIdentity, exited: Promise<ProcessExit>, errors: TextRing) {
    this.#child = child
    this.identity = identity
    this.exited = exited
    this.#errors = errors
  }

  /** Starts the jail program; resolves when QEMU's own process exists. `kvm` is an open descriptor of `/dev/kvm`, which stays the caller's. */
  static async start(
    program: string,
    args: readonly string[],
    options: { kvm?: number; signal: AbortSignal },
  ): Promise<JailedProcess> {
    options.signal.throwIfAborted()
    const extra = options.kvm === undefined ? [] : [options.kvm]
    const child = spawn(program, args, {
      detached: true,
      cwd: '/',
      stdio: ['ignore', 'ignore', 'pipe', 'pipe', ...extra],
    })
    const errors = new TextRing(errorTextBytes)
    child.stderr?.on('data', (bytes: Buffer) => errors.push(bytes))
    const exited = exitOf(child)
    const limit = deadline(startLimitMs, 'start the virtual machine')
    try {
      // The caller's signal has to wait until the process is known: else nobody could end it.
      const pid = await abortable(reportedPid(child, exited, errors), limit)
      const stat = await new Proc().stat(pid)
      if (!stat) throw new AppError('boot_failed', 'cannot start the virtual machine: its process ended at once')
      return new JailedProcess(child, { pid, startTicks: stat.startTicks }, exited, errors)
    } catch (error) {
      killGroup(child)
      await exited
      throw error
    }
  }

  /** What the process printed last on standard error: for the log, as it may name things of the host. */
  get errorText(): string {
    return this.#errors.text()
  }

  /** Kills QEMU and the program that waits for it. Resolves when both are gone. */
  async kill(): Promise<void> {
    await killProcess(this.identity, { limitMs: killLimitMs, signal: new AbortController().signal })
    // The program that waits for QEMU ends by itself then, having reaped it.
    const late = setTimeout(() => killGroup(this.#child), reapLimitMs)
    await this.exited
    clearTimeout(late)
  }
}

function exitOf(child: ChildProcess): Promise<ProcessExit> {
  return new Promise((resolve) => {
    child.once('error', () => resolve({ code: 127, signal: null }))
    child.once('exit', (code, signal) => resolve(fromShellCode(code, signal)))
  })
}

/** The jail program reports a signal that ended QEMU as 128 and its number. */
function fromShellCode(code: number | null, signal: string | null): ProcessExit {
  return code !== null && code > 128 ? { code: null, signal: `signal ${code - 128}` } : { code, signal }
}

async function reportedPid(child: ChildProcess, exited: Promise<ProcessExit>, errors: TextRing): Promise<number> {
  const info = child.stdio[descriptors.info] as Readable
  const gone = exited.then(({ code }) => {
    const why = code === 127 ? 'bubblewrap is not installed' : 'its jail could not be made'
    throw new AppError('boot_failed', `cannot start the virtual machine: ${why}`, { cause: errors.text() })
  })
  const read = (async () => {
    let text = ''
    for await (const chunk of info) text += String(chunk)
    return text
  })()
  const text = await Promise.race([read, gone])
  const pid = Number(/"child-pid"\s*:\s*(\d+)/.exec(text)?.[1])
  return Number.isInteger(pid) && pid > 1 ? pid : await gone
}
