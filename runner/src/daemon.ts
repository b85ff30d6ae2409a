/**
 * The runner as a daemon: an engine with the tunnel in front of it. It owns both.
 *
 *   running ──stop()──▶ draining: nothing new is created, open calls finish, sandboxes are destroyed, the edge is told, GOAWAY ──▶ stopped
 *
 * Each step of the drain has a limit; `hurry` skips the waiting ones.
 */

import { randomBytes } from 'node:crypto'
import { type Clock, sleep, systemClock } from '@portico/shared/clock'
import type { RunnerStatus } from '@portico/shared/control'
import { AppError } from '@portico/shared/errors'
import { base32 } from '@portico/shared/ids'
import packageJson from '../package.json' with { type: 'json' }
import type { DaemonConfig } from './config.ts'
import { type Engine, type EngineParts, openEngine } from './engine.ts'
import { createLog, type Logger } from './log.ts'
import { Telemetry } from './metrics/telemetry.ts'
import { edgeHandler } from './tunnel/handlers.ts'
import { EventOutbox } from './tunnel/outbox.ts'
import { counter } from './tunnel/sequence.ts'
import { StatusReporter } from './tunnel/status.ts'
import { Tunnel } from './tunnel/tunnel.ts'

export { type DaemonConfig, daemonConfig } from './config.ts'

export interface Daemon {
  readonly engine: Engine
  readonly tunnel: Tunnel
  /** Drains and stops; resolves when nothing of the runner is left on the host. `hurry` aborts all waiting for others. */
  stop(hurry: AbortSignal): Promise<void>
}

export interface DaemonParts extends EngineParts {
  readonly random?: () => number
}

/** How long open calls may still take, and the edge to acknowledge what happened. */
export const drainLimits = { callsMs: 5000, eventsMs: 2000, closeMs: 1000, spansMs: 2000 } as const

/** Starts a runner, or throws having freed all. The tunnel connects in the background, for as long as it takes. */
export async function startDaemon(config: DaemonConfig, parts: DaemonParts = {}): Promise<Daemon> {
  const log = parts.log ?? createLog(config.logLevel)
  const telemetry = await Telemetry.open({ endpoint: config.otlpEndpoint, version: packageJson.version, log })
  const engine = await openEngine(config, { ...parts, log })
  const daemon = new TunnelledEngine(config, engine, parts, log, telemetry)
  try {
    await telemetry.serve(config.metricsListen, { engine, sockets: () => daemon.tunnel.sockets })
    return daemon
  } catch (error) {
    await daemon.stop(AbortSignal.abort())
    throw error
  }
}

/** The same over an engine of the caller's, which `stop` closes. */
export function serveEngine(config: DaemonConfig, engine: Engine): Daemon {
  const log = createLog(config.logLevel)
  return new TunnelledEngine(config, engine, {}, log, new Telemetry({ log }))
}

class TunnelledEngine implements Daemon {
  readonly engine: Engine
  readonly tunnel: Tunnel
  readonly #clock: Clock
  readonly #log: Logger
  readonly #outbox: EventOutbox
  readonly #status: StatusReporter
  readonly #telemetry: Telemetry
  readonly #unsubscribe: () => void
  readonly #stopped = new AbortController()

  constructor(config: DaemonConfig, engine: Engine, parts: DaemonParts, log: Logger, telemetry: Telemetry) {
    const { clock = systemClock, random } = parts
    this.#telemetry = telemetry
    const session = base32(randomBytes(16))
    this.engine = engine
    this.#clock = clock
    this.#log = log
    const sequence = counter()
    this.#outbox = new EventOutbox(clock, log, sequence)
    this.#status = new StatusReporter(() => statusMessage(engine, session, sequence()), clock, log)
    const onWarm = engine.onWarm(() => this.#status.changedSoon())
    const onChange = engine.onChange(({ byItself, ...change }) => {
      if (byItself) this.#outbox.add({ op: 'sandbox.event', ...change })
      this.#status.changed()
    })
    this.#unsubscribe = () => {
      onWarm()
      onChange()
    }
    this.tunnel = new Tunnel({
      url: config.edgeUrl,
      token: config.token,
      session,
      sockets: config.tunnelSockets,
      clock,
      log,
      ...(random ? { random } : {}),
      onStream: edgeHandler(engine, log, telemetry.operations),
      // Also where others are open: what a socket that broke had been given may arrive late, and this comes after it.
      onOpen: () => this.#status.changed(),
    })
    void this.#status.report(this.tunnel, this.#stopped.signal)
    void this.#outbox.deliver(this.tunnel, this.#stopped.signal)
  }

  async stop(hurry: AbortSignal): Promise<void> {
    const start = performance.now()
    this.engine.drain()
    this.#status.changed()
    await this.#within(drainLimits.callsMs, hurry, this.tunnel.drained())
    await this.engine.close()
    if (this.tunnel.connected) await this.#within(drainLimits.eventsMs, hurry, this.#outbox.emptied())
    this.#stopped.abort(new AppError('cancelled', 'cannot tell the edge: the runner is being stopped'))
    await this.tunnel.stop(hurry.aborted ? 0 : drainLimits.closeMs)
    this.#unsubscribe()
    await this.#within(drainLimits.spansMs, hurry, this.#telemetry.close())
    this.#log.info({ outcome: 'ok', ms: Math.round(performance.now() - start) }, 'runner.stop')
  }

  async #within(limitMs: number, hurry: AbortSignal, promise: Promise<unknown> | undefined): Promise<void> {
    const over = new AbortController()
    const limit = sleep(limitMs, AbortSignal.any([hurry, over.signal]), this.#clock).catch(() => undefined)
    await Promise.race([promise, limit])
    over.abort()
  }
}

function statusMessage(engine: Engine, session: string, sequence: number): RunnerStatus {
  const status = engine.status()
  return {
    op: 'runner.status',
    session,
    sequence,
    version: packageJson.version,
    accelerator: status.accelerator,
    draining: status.draining,
    vcpus: status.vcpus,
    total_mem_mib: status.totalMemoryMib,
    free_vcpus: status.freeVcpus,
    load: status.load,
    warm: { ...status.warm },
    free_mem_mib: status.freeMemoryMib,
    free_slots: status.freeSlots,
    images: [...status.images],
    ...(status.policy ? { policy: status.policy } : {}),
    sandboxes: [...status.sandboxes],
  }
}
