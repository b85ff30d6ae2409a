import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { Admin } from './admin.ts'
import { complete, enrolmentsOf, loadIdentity } from './identity.ts'

let directory: string
let asked: string[]

/** Answers with names that tell what was asked. */
const admin = {
  async createAccount(name: string) {
    asked.push(`account ${name}`)
    return 'account'
  },
  async createKey(account: string, region: string) {
    asked.push(`key ${account} ${region}`)
    return `key-${region}`
  },
  async enrolRunner(_region: string, name: string) {
    asked.push(`runner ${name}`)
    return { id: name, token: `token-${name}` }
  },
} as unknown as Admin

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'portico-identity-'))
  asked = []
})

afterEach(async () => {
  await rm(directory, { recursive: true, force: true })
})

it('has a key for each region and an enrolment for each runner, in the order of the fleet', async () => {
  const fleet = ['us', 'eu', 'us']
  const identity = await complete(directory, await loadIdentity(directory), admin, fleet)
  expect(identity.apiKeys).toEqual({ us: 'key-us', eu: 'key-eu' })
  expect(enrolmentsOf(identity, fleet).map(({ id }) => id)).toEqual(['local-us-1', 'local-eu-1', 'local-us-2'])
})

it('asks only for what the folder does not hold yet', async () => {
  await complete(directory, await loadIdentity(directory), admin, ['local'])
  expect(asked).toEqual(['account local', 'key account local', 'runner local-local-1'])
  asked = []
  await complete(directory, await loadIdentity(directory), admin, ['local', 'local', 'us'])
  expect(asked).toEqual(['runner local-local-2', 'key account us', 'runner local-us-1'])
  asked = []
  await complete(directory, await loadIdentity(directory), admin, ['us'])
  expect(asked).toEqual([])
})
