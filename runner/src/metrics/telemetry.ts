/** What the daemon tells of itself: spans where an endpoint is set, figures where an address is. It owns both; what is off is not even loaded. */

import type { Logger } from '../log.ts'
import { Tracing, type TracingOptions } from '../tracing/tracing.ts'
import type { Metrics, MetricsSource } from './metrics.ts'
import { Operations } from './operations.ts'
import type { MetricsServer } from './server.ts'

export class Telemetry {
  readonly operations: Operations
  readonly #log: Logger
  readonly #tracing: Tracing
  #metrics: Metrics | undefined
  #server: MetricsServer | undefined

  constructor({ log, tracing = new Tracing() }: { log: Logger; tracing?: Tracing }) {
    this.#log = log
    this.#tracing = tracing
    this.operations = new Operations(tracing)
  }

  static async open(options: TracingOptions): Promise<Telemetry> {
    return new Telemetry({ log: options.log, tracing: await Tracing.open(options) })
  }

  /** Serves figures, if there is an address for them. */
  async serve(listen: string | undefined, source: MetricsSource): Promise<void> {
    if (listen === undefined) return
    const [{ Metrics }, { serveMetrics }] = await Promise.all([import('./metrics.ts'), import('./server.ts')])
    const metrics = new Metrics(source)
    this.#metrics = metrics
    this.#server = await serveMetrics(metrics, listen, this.#log)
    this.operations.countIn(metrics)
    this.#log.info({ url: this.#server.url }, 'metrics.serve')
  }

  /** Sends the spans that wait and stops serving. */
  async close(): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]()
    this.#metrics?.close()
    await this.#tracing.close().catch((error: unknown) => this.#log.warn({ error }, 'telemetry.export'))
  }
}
