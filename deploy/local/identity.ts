/** What a local platform keeps between starts: its secrets, its first account's key, its runners' tokens. One file, readable by its owner alone. */

import { randomBytes } from 'node:crypto'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Admin } from './admin.ts'

export interface Enrolled {
  readonly id: string
  readonly token: string
}

export interface Identity {
  /** The Worker secret that all keys and tokens are derived from. */
  readonly secret: string
  readonly adminKey: string
  /** By region. */
  readonly apiKeys: Readonly<Record<string, string>>
  readonly account: string | undefined
  /** By region, in the order they were enrolled. */
  readonly runners: Readonly<Record<string, readonly Enrolled[]>>
}

/** What the folder holds, or a fresh identity. */
export async function loadIdentity(directory: string): Promise<Identity> {
  const text = await readFile(file(directory), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (text !== undefined) return JSON.parse(text) as Identity
  const fresh = {
    secret: secret(),
    adminKey: `portico_admin_${secret()}`,
    apiKeys: {},
    account: undefined,
    runners: {},
  }
  await save(directory, fresh)
  return fresh
}

/** The identity with an account, a key of the region and so many runners; makes what is missing, and keeps each thing as soon as it is made. */
export async function complete(
  directory: string,
  identity: Identity,
  admin: Admin,
  region: string,
  runners: number,
): Promise<Identity> {
  let current = identity
  const keep = async (change: Partial<Identity>) => {
    current = { ...current, ...change }
    await save(directory, current)
  }
  if (current.account === undefined) await keep({ account: await admin.createAccount('local') })
  const account = current.account as string
  if (current.apiKeys[region] === undefined) {
    await keep({ apiKeys: { ...current.apiKeys, [region]: await admin.createKey(account, region, 'local') } })
  }
  for (
    let enrolled = current.runners[region] ?? [];
    enrolled.length < runners;
    enrolled = current.runners[region] ?? []
  ) {
    const next = await admin.enrolRunner(region, `local-${region}-${enrolled.length + 1}`)
    await keep({ runners: { ...current.runners, [region]: [...enrolled, { id: next.id, token: next.token }] } })
  }
  return current
}

function file(directory: string): string {
  return join(directory, 'identity.json')
}

async function save(directory: string, identity: Identity): Promise<void> {
  const temporary = `${file(directory)}.new`
  await writeFile(temporary, `${JSON.stringify(identity, undefined, 2)}\n`, { mode: 0o600 })
  await rename(temporary, file(directory))
}

function secret(): string {
  return randomBytes(32).toString('hex')
}
