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

/**
 * The identity with an account, and for each runner of the fleet, given by their regions, a key of its region and an enrolment; makes what is missing, and
 * keeps each thing as soon as it is made.
 */
export async function complete(
  directory: string,
  identity: Identity,
  admin: Admin,
  fleet: readonly string[],
): Promise<Identity> {
  let current = identity
  const keep = async (change: Partial<Identity>) => {
    current = { ...current, ...change }
    await save(directory, current)
  }
  if (current.account === undefined) await keep({ account: await admin.createAccount('local') })
  const account = current.account as string
  for (const [region, runners] of Map.groupBy(fleet, (name) => name)) {
    if (current.apiKeys[region] === undefined) {
      await keep({ apiKeys: { ...current.apiKeys, [region]: await admin.createKey(account, region, 'local') } })
    }
    for (
      let enrolled = current.runners[region] ?? [];
      enrolled.length < runners.length;
      enrolled = current.runners[region] ?? []
    ) {
      const next = await admin.enrolRunner(region, `local-${region}-${enrolled.length + 1}`)
      await keep({ runners: { ...current.runners, [region]: [...enrolled, { id: next.id, token: next.token }] } })
    }
  }
  return current
}

/** The enrolment of each runner of the fleet, in the fleet's order. */
export function enrolmentsOf({ runners }: Identity, fleet: readonly string[]): Enrolled[] {
  const next = new Map<string, number>()
  return fleet.map((region) => {
    const place = next.get(region) ?? 0
    next.set(region, place + 1)
    const enrolled = runners[region]?.[place]
    if (enrolled === undefined) throw new Error(`cannot start: runner ${place + 1} of region ${region} is not enrolled`)
    return enrolled
  })
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
