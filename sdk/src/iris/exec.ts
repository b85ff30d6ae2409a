/** Commands in a sandbox. */

import { inSandboxExecResponse } from '@portico/shared/api'
import { execGraceMs } from '../limits.ts'
import type { DataPlane } from './data-plane.ts'
import type { CallOptions } from './wire.ts'

/** The platform's own default for a command's timeout. */
const defaultMs = 60_000

export interface ExecOptions extends CallOptions {
  /** Text is run by /bin/sh, a list as it is. */
  readonly cmd: string | readonly string[]
  /** Where it runs; absolute. */
  readonly dir?: string | undefined
  /** Variables on top of the sandbox's own. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** After this it is killed, with all that it started; 60,000 unless told. */
  readonly timeout_ms?: number | undefined
  readonly stdin?: string | undefined
  /** A user of the sandbox. */
  readonly user?: string | undefined
}

export interface ExecResult {
  readonly stdout: string
  readonly stderr: string
  /** 124 for one that ran out of time; a signal counts 128 and its number. */
  readonly exit_code: number
  /** The exit code is 0. */
  readonly ok: boolean
  readonly timed_out: boolean
  readonly duration_ms: number
}

export class Exec {
  readonly #plane: DataPlane

  /** @internal Made by Sandbox alone. */
  constructor(plane: DataPlane) {
    this.#plane = plane
  }

  /** Runs a command to its end. One that fails is an answer, not an error. */
  async run(command: string | ExecOptions, options: CallOptions = {}): Promise<ExecResult> {
    const { signal, ...json } = typeof command === 'string' ? { ...options, cmd: command } : { ...options, ...command }
    const limitMs = (json.timeout_ms ?? defaultMs) + execGraceMs
    const call = { method: 'POST', path: '/v1/exec', doing: 'run the command', limitMs, json, signal } as const
    return await this.#plane.json(call, inSandboxExecResponse)
  }
}
