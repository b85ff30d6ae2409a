/**
 * The runner as a daemon: an engine with the tunnel in front of it. It owns both.
 *
 *   running ──stop()──▶ draining: nothing new is created, open calls finish, sandboxes are destroyed, the edge is told, GOAWAY ──▶ stopped
 *
 * Each step of the drain has a limit; `hurry` skips the waiting ones.
 */

import { randomUUID } from 'node:crypto'
import { type Clock, sleep, systemClock } from '@portico/shared/clock'
import type { RunnerStatus } from '@portico/shared/control'
import packageJson from '../package.json' with { type: 'json' }
import type { DaemonConfig } from './config.ts'
import { type Engine, type EngineParts, openEngine } from './engine.ts'
import { createLog, type Logger } from './log.ts'
import { TunnelClient } from './tunnel/client.ts'
import { edgeHandler } from './tunnel/handlers.ts'
import { EventOutbox } from './tunnel/outbox.ts'
import { StatusReporter } from './tunnel/status.ts'

export interface Daemon {
  readonly engine: Engine
  readonly tunnel: TunnelClient
  /** Drains and stops; resolves when nothing of the runner is left on the host. `hurry` aborts all waiting for others. */
  stop(hurry: AbortSignal): Promise<void>
}

export interface DaemonParts extends EngineParts {
  readonly random?: () => number
}

/** How long open calls may still take, and the edge to acknowledge what happened. */
export const drainLimits = { callsMs: 5000, eventsMs: 2000, closeMs: 1000 } as const

/** Starts a runner, or throws having freed all. The tunnel connects in the background, for as long as it takes. */
export async function startDaemon(config: DaemonConfig, parts: DaemonParts = {}): Promise<Daemon> {
  const log = parts.log ?? createLog(config.logLevel)
  const engine = await openEngine(config, { ...parts, log })
  return new TunnelledEngine(config, engine, parts, log)
}

class TunnelledEngine implements Daemon {
  readonly engine: Engine
  readonly tunnel: TunnelClient
  readonly #clock: Clock
  readonly #log: Logger
  readonly #outbox: EventOutbox
  readonly #status: StatusReporter
  readonly #unsubscribe: () => void

  constructor(config: DaemonConfig, engine: Engine, parts: DaemonParts, log: Logger) {
    const { clock = systemClock, random } = parts
    const session = randomUUID()
    this.engine = engine
    this.#clock = clock
    this.#log = log
    this.#outbox = new EventOutbox(clock, log)
    this.#status = new StatusReporter(() => statusMessage(engine, session), clock, log)
    this.#unsubscribe = engine.onChange(({ byItself, ...change }) => {
      if (byItself) this.#outbox.add({ op: 'sandbox.event', ...change })
      this.#status.changed()
    })
    this.tunnel = new TunnelClient({
      url: config.edgeUrl,
      token: config.token,
      clock,
      log,
      ...(random ? { random } : {}),
      onStream: edgeHandler(engine, log),
      onReady: (muxer, signal) => {
        void this.#status.report(muxer, signal)
        void this.#outbox.deliver(muxer, signal)
      },
    })
  }

  async stop(hurry: AbortSignal): Promise<void> {
    const start = performance.now()
    this.engine.drain()
    this.#status.changed()
    await this.#within(drainLimits.callsMs, hurry, this.tunnel.muxer?.drained())
    await this.engine.close()
    if (this.tunnel.muxer) await this.#within(drainLimits.eventsMs, hurry, this.#outbox.emptied())
    await this.tunnel.stop(hurry.aborted ? 0 : drainLimits.closeMs)
    this.#unsubscribe()
    this.#log.info({ outcome: 'ok', ms: Math.round(performance.now() - start) }, 'runner.stop')
  }

  async #within(limitMs: number, hurry: AbortSignal, promise: Promise<unknown> | undefined): Promise<void> {
    const over = new AbortController()
    const limit = sleep(limitMs, AbortSignal.any([hurry, over.signal]), this.#clock).catch(() => undefined)
    await Promise.race([promise, limit])
    over.abort()
  }
}

function statusMessage(engine: Engine, session: string): RunnerStatus {
  const status = engine.status()
  return {
    op: 'runner.status',
    session,
    version: packageJson.version,
    accelerator: status.accelerator,
    draining: status.draining,
    vcpus: status.vcpus,
    free_mem_mib: status.freeMemoryMib,
    free_slots: status.freeSlots,
    images: [...status.images],
    sandboxes: [...status.sandboxes],
  }
}
