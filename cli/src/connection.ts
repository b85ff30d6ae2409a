/** Which platform to talk to: what the command line says, else the environment, else the platform that `portico up` runs on this machine. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CommandError } from './command-error.ts'

export interface Connection {
  readonly baseUrl: string
  /** As whom: an account's key, or the operator's. */
  readonly key: string
  /** It is the local platform's, found by itself. */
  readonly local: boolean
}

/** What was given of it. */
export interface Given {
  readonly url?: string | undefined
  readonly key?: string | undefined
}

/** As whom a command calls: with a key of an account, or with the operator's own. */
interface Role {
  readonly variable: 'PORTICO_API_KEY' | 'PORTICO_ADMIN_KEY'
  readonly key: string
  readonly local: (platform: LocalPlatform) => string | undefined
}

const user: Role = { variable: 'PORTICO_API_KEY', key: 'API key', local: ({ apiKey }) => apiKey }
const operator: Role = { variable: 'PORTICO_ADMIN_KEY', key: 'admin key', local: ({ adminKey }) => adminKey }

function start({ variable }: Role): string {
  return `Start a platform on this machine with \`portico up\`, or set PORTICO_URL and ${variable}.`
}

/** Finds URL and key of an account. The local platform's key goes to no other URL than its own. */
export async function findConnection(given: Given, env: NodeJS.ProcessEnv, checkout: string): Promise<Connection> {
  return await find(user, given, env, checkout)
}

/** Finds URL and the operator's key, in the same way. */
export async function findAdmin(given: Given, env: NodeJS.ProcessEnv, checkout: string): Promise<Connection> {
  return await find(operator, given, env, checkout)
}

async function find(role: Role, given: Given, env: NodeJS.ProcessEnv, checkout: string): Promise<Connection> {
  const baseUrl = given.url ?? (env.PORTICO_URL || undefined)
  const key = given.key ?? (env[role.variable] || undefined)
  if (baseUrl !== undefined && key !== undefined) return { baseUrl, key, local: false }
  const file = join(env.PORTICO_HOME || join(checkout, '.portico'), 'local', 'connection.json')
  const local = await localPlatform(file, role)
  const localKey = local && role.local(local)
  if (baseUrl !== undefined) {
    if (localKey === undefined || !sameOrigin(local?.url ?? '', baseUrl))
      throw new CommandError(
        `cannot use ${baseUrl}: no ${role.key} is given for it`,
        `Set ${role.variable} or pass --key.`,
      )
    return { baseUrl, key: localKey, local: true }
  }
  if (local === undefined) {
    const what = key === undefined ? 'no URL and key are given' : 'no URL is given'
    throw new CommandError(`cannot find a platform: ${what}`, start(role))
  }
  const found = key ?? localKey
  if (found === undefined) throw new CommandError(`cannot use ${file}: it holds no ${role.key}`, start(role))
  return { baseUrl: local.url, key: found, local: true }
}

interface LocalPlatform {
  readonly url: string
  readonly apiKey: string
  readonly adminKey: string | undefined
}

async function localPlatform(file: string, role: Role): Promise<LocalPlatform | undefined> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw new CommandError(`cannot read ${file}: ${code ?? 'it fails'}`, start(role))
  }
  const { url, apiKey, adminKey } = parse(text)
  if (typeof url === 'string' && typeof apiKey === 'string')
    return { url, apiKey, adminKey: typeof adminKey === 'string' ? adminKey : undefined }
  throw new CommandError(`cannot use ${file}: it holds no url and apiKey`, start(role))
}

function parse(text: string): { url?: unknown; apiKey?: unknown; adminKey?: unknown } {
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
