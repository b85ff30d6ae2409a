/**
 * The figures of this runner for Prometheus: what was asked of it and how that went, counted as it happens; what it holds, read when somebody scrapes.
 * Made only where they are served.
 */

import { AppError } from '@portico/shared/errors'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { Engine, EngineStatus } from '../engine.ts'
import type { Operation } from './operations.ts'

/** Where the figures of a scrape come from. */
export interface MetricsSource {
  readonly engine: Pick<Engine, 'status' | 'onChange' | 'images'>
  /** How many sockets to the edge are open. */
  readonly sockets: () => number
}

const mib = 2 ** 20
/** Seconds: from a machine that stood ready to a first boot under emulation, or a long command. */
const buckets = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300]

export class Metrics {
  readonly #registry = new Registry()
  readonly #unsubscribe: () => void
  readonly #operations = new Counter({
    name: 'portico_operations_total',
    help: 'Calls of the edge that are over, by what was asked and how it ended: ok, or the code of the error.',
    labelNames: ['operation', 'result'],
    registers: [this.#registry],
  })
  readonly #seconds = new Histogram({
    name: 'portico_operation_seconds',
    help: 'How long calls of the edge that went well took; of an exec, with the command itself.',
    labelNames: ['operation'],
    buckets,
    registers: [this.#registry],
  })
  readonly #changes = new Counter({
    name: 'portico_sandbox_changes_total',
    help: 'Changes of the state of sandboxes, and whether they came by themselves.',
    labelNames: ['state', 'by_itself'],
    registers: [this.#registry],
  })

  constructor({ engine, sockets }: MetricsSource) {
    collectDefaultMetrics({ register: this.#registry })
    this.#unsubscribe = engine.onChange(({ state, byItself }) =>
      this.#changes.inc({ state, by_itself: String(byItself) }),
    )
    this.#gauges(() => engine.status(), sockets)
    this.#images(() => engine.images.figures())
  }

  /** The page that a scrape gets. */
  async page(): Promise<{ readonly type: string; readonly text: string }> {
    return { type: this.#registry.contentType, text: await this.#registry.metrics() }
  }

  /** Counts an operation that began at `start`. */
  count(operation: Operation, start: number, failure?: unknown): void {
    const failed = failure !== undefined
    this.#operations.inc({ operation, result: failed ? AppError.from(failure).code : 'ok' })
    if (!failed) this.#seconds.observe({ operation }, (performance.now() - start) / 1000)
  }

  close(): void {
    this.#unsubscribe()
    this.#registry.clear()
  }

  #gauges(status: () => EngineStatus, sockets: () => number): void {
    this.#gauge('portico_tunnel_sockets', 'Sockets to the edge that are open; 0 is not connected.', sockets)
    this.#gauge('portico_draining', 'Whether nothing new is created any more.', () => Number(status().draining))
    this.#gauge('portico_vcpus_free', 'vCPUs that may still be promised.', () => status().freeVcpus)
    this.#gauge('portico_slots_free', 'How many more sandboxes there may be.', () => status().freeSlots)
    this.#gauge('portico_memory_bytes', 'What sandboxes together may have.', () => status().totalMemoryMib * mib)
    this.#gauge('portico_memory_free_bytes', 'What of it is free.', () => status().freeMemoryMib * mib)
    this.#labelled('portico_sandboxes', 'Sandboxes, by state.', 'state', () => byState(status()))
    this.#labelled('portico_pool_machines', 'Machines that stand ready, by image.', 'image', () => status().ready)
  }

  /** Of the store of images from registries, where there is one. */
  #images(figures: () => ImageFigures | undefined): void {
    const gauge = (name: string, help: string, read: (of: ImageFigures) => number) =>
      this.#gauge(name, help, () => withFigures(figures(), read))
    gauge('portico_images', 'Images in the store.', ({ images }) => images)
    gauge('portico_image_cache_bytes', 'What they take of the disk.', ({ bytes }) => bytes)
    gauge('portico_image_cache_limit_bytes', 'What they may take.', ({ limitBytes }) => limitBytes)
    gauge('portico_image_pulls', 'Pulls under way.', ({ pullsUnderWay }) => pullsUnderWay)
    const total = (name: string, help: string, read: (of: ImageFigures) => number) =>
      this.#total(name, help, () => withFigures(figures(), read))
    total('portico_image_pulls_done_total', 'Pulls that brought an image.', ({ pullsDone }) => pullsDone)
    total('portico_image_pulls_failed_total', 'Pulls that failed.', ({ pullsFailed }) => pullsFailed)
    total('portico_image_pulled_bytes_total', 'Bytes that registries sent.', ({ pulledBytes }) => pulledBytes)
    total('portico_image_evictions_total', 'Images that made room for others.', ({ evicted }) => evicted)
  }

  #gauge(name: string, help: string, read: () => number | undefined): void {
    const registers = [this.#registry]
    new Gauge({
      name,
      help,
      registers,
      collect() {
        const value = read()
        if (value !== undefined) this.set(value)
      },
    })
  }

  /** A count that something else keeps. */
  #total(name: string, help: string, read: () => number | undefined): void {
    const registers = [this.#registry]
    new Counter({
      name,
      help,
      registers,
      collect() {
        const value = read()
        this.reset()
        if (value !== undefined) this.inc(value)
      },
    })
  }

  #labelled(name: string, help: string, label: string, read: () => Readonly<Record<string, number>>): void {
    const registers = [this.#registry]
    new Gauge({
      name,
      help,
      labelNames: [label],
      registers,
      collect() {
        this.reset()
        for (const [value, count] of Object.entries(read())) this.set({ [label]: value }, count)
      },
    })
  }
}

type ImageFigures = NonNullable<ReturnType<Engine['images']['figures']>>

function withFigures(figures: ImageFigures | undefined, read: (of: ImageFigures) => number): number | undefined {
  return figures === undefined ? undefined : read(figures)
}

/** A state without sandboxes is told, too: who watches for one sees that there is none. */
function byState({ sandboxes }: EngineStatus): Record<string, number> {
  const counts: Record<string, number> = { creating: 0, running: 0, hibernated: 0 }
  for (const { state } of sandboxes) counts[state] = (counts[state] ?? 0) + 1
  return counts
}
