/** The runner's configuration: a JSON file, then the environment on top, as one frozen object. Nothing else reads the environment. */

import { readFile } from 'node:fs/promises'
import { availableParallelism, totalmem } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { AppError } from '@portico/shared/errors'
import { z } from 'zod'
import { parseListen } from './metrics/listen.ts'

const absolutePath = z.string().refine(isAbsolute, 'must be an absolute path')
const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const

/** What an engine needs; a daemon also needs an edge. */
export const engineConfig = z.object({
  stateDir: absolutePath,
  /** The file that set-up writes: where QEMU, the kernel, the agent and the images are. */
  assets: absolutePath,
  accelerator: z.enum(['auto', 'kvm', 'tcg']).default('auto'),
  /** Names that callers may use for a preset, such as `node:22-slim`. */
  imageAliases: z.record(z.string(), z.string()).default({}),
  /** The operator's `portico.yaml`; without one the presets may be booted and nothing is pulled. */
  policy: absolutePath.optional(),
  maxSandboxes: z.int().min(1).max(1024).default(256),
  /** What all sandboxes together may be given. */
  memoryMib: z
    .int()
    .min(128)
    .default(() => Math.floor((totalmem() / 2 ** 20) * 0.8)),
  /** What the runner reports to the edge as its processors. */
  vcpus: z
    .int()
    .min(1)
    .default(() => availableParallelism()),
  /** vCPUs that all sandboxes together may be given; 16 for each of `vcpus` unless said otherwise, as sandboxes share cores and most wait. */
  maxVcpus: z.int().min(1).optional(),
  /**
   * `separate`: each machine's QEMU runs as a user of its own; needs root. `same`: it runs as the runner's user, so a machine that breaks out of
   * QEMU has that user's rights inside its jail. Only for development without root.
   */
  vmUser: z.enum(['separate', 'same']).default('separate'),
  /**
   * Machines of each template in use that stand ready, paused and without an identity; 0 switches that off. One in 8 GiB of `memoryMib`, at most 2,
   * unless said otherwise.
   */
  poolSize: z.int().min(0).max(64).optional(),
  logLevel: z.enum(logLevels).default('info'),
})
export type EngineConfig = Readonly<z.infer<typeof engineConfig>>

export const daemonConfig = engineConfig.extend({
  edgeUrl: z.url({ protocol: /^wss?$/, error: 'must be a ws: or wss: URL' }),
  token: z.string().min(1),
  /** WebSockets to the edge: a stalled one holds up only its own calls. */
  tunnelSockets: z.int().min(1).max(8).default(2),
  /** Where spans are sent by OTLP/HTTP, such as `http://127.0.0.1:4318`; without it none are made. */
  otlpEndpoint: z.url({ protocol: /^https?$/, error: 'must be an http: or https: URL' }).optional(),
  /** Where Prometheus scrapes this runner, as `127.0.0.1:9464`; without it nothing is served. */
  metricsListen: z
    .string()
    .refine((text) => parseListen(text) !== undefined, 'must be ADDRESS:PORT')
    .optional(),
})
export type DaemonConfig = Readonly<z.infer<typeof daemonConfig>>

/** How many machines of a template stand ready. */
export function poolSizeOf({ poolSize, memoryMib }: Pick<EngineConfig, 'poolSize' | 'memoryMib'>): number {
  return poolSize ?? Math.min(2, Math.floor(memoryMib / 8192))
}

/** How many vCPUs all sandboxes together may be given. */
export function maxVcpusOf({ maxVcpus, vcpus }: Pick<EngineConfig, 'maxVcpus' | 'vcpus'>): number {
  return maxVcpus ?? 16 * vcpus
}

/** Variables that override the file. */
const variables = {
  PORTICO_EDGE_URL: ['edgeUrl', 'text'],
  PORTICO_RUNNER_TOKEN: ['token', 'text'],
  PORTICO_STATE_DIR: ['stateDir', 'text'],
  PORTICO_ASSETS: ['assets', 'text'],
  PORTICO_ACCELERATOR: ['accelerator', 'text'],
  PORTICO_IMAGE_ALIASES: ['imageAliases', 'json'],
  PORTICO_POLICY: ['policy', 'text'],
  PORTICO_MAX_SANDBOXES: ['maxSandboxes', 'json'],
  PORTICO_MEMORY_MIB: ['memoryMib', 'json'],
  PORTICO_VCPUS: ['vcpus', 'json'],
  PORTICO_MAX_VCPUS: ['maxVcpus', 'json'],
  PORTICO_TUNNEL_SOCKETS: ['tunnelSockets', 'json'],
  PORTICO_VM_USER: ['vmUser', 'text'],
  PORTICO_POOL_SIZE: ['poolSize', 'json'],
  PORTICO_METRICS_LISTEN: ['metricsListen', 'text'],
  OTEL_EXPORTER_OTLP_ENDPOINT: ['otlpEndpoint', 'text'],
  PORTICO_LOG_LEVEL: ['logLevel', 'text'],
} as const satisfies Record<string, readonly [keyof DaemonConfig, 'text' | 'json']>

/** Reads and checks the configuration. Its errors name the field and never show a value, as one of them is a secret. */
export async function loadConfig<Schema extends z.ZodType>(
  schema: Schema,
  file: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<Readonly<z.infer<Schema>>> {
  const home = environment.PORTICO_HOME ?? defaultHome
  const places = { stateDir: join(home, 'runner'), assets: join(home, 'cache', 'assets.json') }
  const fromFile = file === undefined ? {} : await readConfigFile(file)
  return parseConfig(schema, { ...places, ...fromFile, ...fromEnvironment(environment) })
}

/** Where an installed host keeps everything, unless PORTICO_HOME says otherwise. */
const defaultHome = '/var/lib/portico'

/** Checks a configuration that is already an object. */
export function parseConfig<Schema extends z.ZodType>(schema: Schema, value: unknown): Readonly<z.infer<Schema>> {
  const result = schema.safeParse(value)
  if (result.success) return Object.freeze(result.data)
  const problems = result.error.issues.map((issue) => `${issue.path.join('.') || 'it'}: ${issue.message}`)
  throw new AppError('invalid_request', `cannot use the configuration: ${problems.join('; ')}`)
}

async function readConfigFile(file: string): Promise<object> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new AppError('invalid_request', 'cannot read the configuration file: it is missing or not readable', {
      cause,
    })
  })
  const value = parseJson(text, 'the configuration file')
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  throw new AppError('invalid_request', 'cannot use the configuration file: it must hold one JSON object')
}

function fromEnvironment(environment: Readonly<Record<string, string | undefined>>): Record<string, unknown> {
  const values: Record<string, unknown> = {}
  for (const [variable, [field, kind]] of Object.entries(variables)) {
    const text = environment[variable]
    if (text === undefined || text === '') continue
    values[field] = kind === 'json' ? parseJson(text, variable) : text
  }
  return values
}

function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new AppError('invalid_request', `cannot read ${what}: it is not JSON`)
  }
}
