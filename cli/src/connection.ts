/** Which platform to talk to: what the command line says, else the environment, else the platform that `portico up` runs on this machine. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CommandError } from './command-error.ts'

export interface Connection {
  readonly baseUrl: string
  readonly apiKey: string
  /** It is the local platform's, found by itself. */
  readonly local: boolean
}

/** What was given of it. */
export interface Given {
  readonly url?: string | undefined
  readonly key?: string | undefined
}

const start = 'Start a platform on this machine with `portico up`, or set PORTICO_URL and PORTICO_API_KEY.'

/** Finds URL and key. The local platform's key goes to no other URL than its own. */
export async function findConnection(given: Given, env: NodeJS.ProcessEnv, checkout: string): Promise<Connection> {
  const baseUrl = given.url ?? (env.PORTICO_URL || undefined)
  const apiKey = given.key ?? (env.PORTICO_API_KEY || undefined)
  if (baseUrl !== undefined && apiKey !== undefined) return { baseUrl, apiKey, local: false }
  const local = await localPlatform(join(env.PORTICO_HOME || join(checkout, '.portico'), 'local', 'connection.json'))
  if (baseUrl !== undefined) {
    if (local === undefined || !sameOrigin(local.url, baseUrl))
      throw new CommandError(`cannot use ${baseUrl}: no API key is given for it`, 'Set PORTICO_API_KEY or pass --key.')
    return { baseUrl, apiKey: local.apiKey, local: true }
  }
  if (local === undefined) {
    const what = apiKey === undefined ? 'no URL and key are given' : 'no URL is given'
    throw new CommandError(`cannot find a platform: ${what}`, start)
  }
  return { baseUrl: local.url, apiKey: apiKey ?? local.apiKey, local: true }
}

interface LocalPlatform {
  readonly url: string
  readonly apiKey: string
}

async function localPlatform(file: string): Promise<LocalPlatform | undefined> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw new CommandError(`cannot read ${file}: ${code ?? 'it fails'}`, start)
  }
  const { url, apiKey } = parse(text)
  if (typeof url === 'string' && typeof apiKey === 'string') return { url, apiKey }
  throw new CommandError(`cannot use ${file}: it holds no url and apiKey`, start)
}

function parse(text: string): { url?: unknown; apiKey?: unknown } {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : {}
  } catch {
    return {}
  }
}

function sameOrigin(one: string, other: string): boolean {
  return URL.canParse(one) && URL.canParse(other) && new URL(one).origin === new URL(other).origin
}
