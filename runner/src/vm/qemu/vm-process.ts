/** QEMU's process as a machine holds it, whoever started it. */

import type { ProcessIdentity } from '../../process/proc.ts'

/** How the process ended. Code and signal are unknown for one that another process of the runner started. */
export interface ProcessExit {
  readonly code: number | null
  readonly signal: string | null
}

export interface VmProcess {
  readonly identity: ProcessIdentity
  /** Resolves when the process is gone. */
  readonly exited: Promise<ProcessExit>
  /** What it printed last on standard error, if that can be known: for the log, as it may name things of the host. */
  readonly errorText: string
  /** Resolves when it, and the program that waits for it, are gone. */
  kill(): Promise<void>
}
