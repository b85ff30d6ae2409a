/** Who may import whom. The page `docs/architecture.md` carries the same table; a test compares the two, and reads every import against it. */

export interface Layer {
  /** A folder of the checkout. */
  readonly part: string
  /** What it may import from other parts: package names, with a sub-path where only that is allowed. */
  readonly may: readonly string[]
  /** Module prefixes it may never import. */
  readonly never: readonly string[]
}

export const layers: readonly Layer[] = [
  { part: 'shared/src', may: [], never: ['node:', 'cloudflare:', '@portico/'] },
  { part: 'edge/src', may: ['@portico/shared'], never: ['node:'] },
  { part: 'runner/src', may: ['@portico/shared'], never: ['cloudflare:'] },
  {
    part: 'sdk/src',
    may: [
      '@portico/shared/api',
      '@portico/shared/audit',
      '@portico/shared/backoff',
      '@portico/shared/clock',
      '@portico/shared/dispose',
      '@portico/shared/errors',
      '@portico/shared/ids',
      '@portico/shared/process-records',
      '@portico/shared/usage',
    ],
    never: ['node:', 'cloudflare:'],
  },
  {
    part: 'cli/src',
    may: ['@portico/sdk', '@portico/shared/errors', '@portico/shared/ids'],
    never: ['cloudflare:'],
  },
  { part: 'console/src', may: ['@portico/shared/api'], never: ['node:', 'cloudflare:'] },
  { part: 'deploy', may: ['@portico/sdk'], never: ['cloudflare:'] },
]
