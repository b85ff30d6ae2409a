/** Starting processes that run on by themselves, and finding those that do. */

import { processList, processRecord } from '@portico/shared/api'
import { abortable } from '@portico/shared/dispose'
import { type Background, later } from './background.ts'
import { CallScope } from './call-scope.ts'
import { commandFields, type GuestCommand } from './command.ts'
import { shortMs } from './limits.ts'
import { invalid } from './options.ts'
import { Process, type ProcessInfo, type ProcessOptions, processInfo } from './process.ts'
import type { Transport } from './transport.ts'

/** The size of a terminal. */
export interface TerminalSize {
  readonly cols: number
  readonly rows: number
}

/** How to start a process. */
export interface SpawnOptions extends ProcessOptions {
  /** Seconds after which it and all that it started are ended; without, it runs as long as the sandbox does. */
  readonly timeoutSec?: number | undefined
  /** Added to the sandbox's own variables. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Working directory; `/` unless told. */
  readonly cwd?: string | undefined
  /** A name or number of the sandbox's `/etc/passwd`, `:group` if wanted; root unless told. */
  readonly user?: string | undefined
  /** Text for its standard input, which is empty otherwise. */
  readonly stdin?: string | undefined
  /** Its standard input stays open for `write`, until `closeStdin`. */
  readonly stdinOpen?: boolean | undefined
  /** Runs it on a terminal of this size. */
  readonly tty?: TerminalSize | undefined
  /** How much of its output the sandbox keeps for who comes late, in bytes: 64 KiB to 64 MiB, 1 MiB unless told. */
  readonly bufferBytes?: number | undefined
  /** Is told how many bytes of output are gone for good. */
  readonly onGap?: ((lost: number) => void) | undefined
  /** For how long nothing may be heard of the process before reading, writing and waiting give it up, in seconds; 300 unless told. */
  readonly silenceSec?: number | undefined
  /** Ends the call, and with it the process, at any time. */
  readonly signal?: AbortSignal | undefined
}

const names: Readonly<Record<keyof Omit<SpawnOptions, keyof ProcessOptions>, string>> = {
  timeoutSec: 'timeout',
  env: 'env',
  cwd: 'cwd',
  user: 'user',
  stdin: 'stdin',
  stdinOpen: 'stdin_open',
  tty: 'tty',
  bufferBytes: 'buffer_bytes',
}

/** @internal The processes of one sandbox. */
export class Processes {
  readonly #transport: Transport
  readonly #background: Background
  readonly #sandboxPath: string

  constructor(transport: Transport, background: Background, sandboxPath: string) {
    this.#transport = transport
    this.#background = background
    this.#sandboxPath = sandboxPath
  }

  async spawn(command: GuestCommand, options: SpawnOptions): Promise<Process> {
    const { onGap, silenceSec, signal, ...spec } = options
    const path = `${this.#sandboxPath}/processes`
    const call = { method: 'POST', path, doing: 'start the process', limitMs: shortMs } as const
    const json = { ...commandFields(command), ...body(spec) }
    const scope = new CallScope(call.doing, signal, this.#transport.closed)
    try {
      scope.signal.throwIfAborted()
      const starting = this.#transport.json({ ...call, json, detached: true }, processRecord)
      const waiting = abortable(starting, scope.signal)
      const unwanted = async () => await this.#handle(await starting, {}).discard()
      scope.signal.addEventListener('abort', () => later(this.#background, waiting.catch(unwanted)))
      return this.#handle(await waiting, { onGap, silenceSec, signal })
    } finally {
      scope.end()
    }
  }

  async list(signal: AbortSignal | undefined): Promise<ProcessInfo[]> {
    const path = `${this.#sandboxPath}/processes`
    const call = { method: 'GET', path, doing: 'list the processes', limitMs: shortMs } as const
    const { processes } = await this.#transport.json({ ...call, repeatable: true, signal }, processList)
    return processes.map(processInfo)
  }

  async get(id: string, options: ProcessOptions): Promise<Process> {
    const { signal, ...rest } = options
    const path = `${this.#sandboxPath}/processes/${encodeURIComponent(id)}`
    const call = { method: 'GET', path, doing: 'look up the process', limitMs: shortMs } as const
    // The signal ends the looking; it does not own the process.
    return this.#handle(await this.#transport.json({ ...call, repeatable: true, signal }, processRecord), rest)
  }

  #handle(record: Parameters<typeof processInfo>[0], options: ProcessOptions): Process {
    return new Process(this.#transport, this.#background, this.#sandboxPath, record, options)
  }
}

/** Refuses options that it does not know. */
function body(spec: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(spec).map(([name, value]) => {
      const wireName = Object.hasOwn(names, name) ? names[name as keyof typeof names] : undefined
      if (wireName === undefined) {
        const hint = `Options are ${Object.keys(names).join(', ')}, onGap, silenceSec and signal.`
        throw invalid(`cannot start the process: there is no option ${name}`, hint)
      }
      return [wireName, value]
    }),
  )
}
