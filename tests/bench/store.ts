/** A value set and read in the store of a sandbox, next to a row written and read by a bare Worker and object on the same runtime. They take turns. */

import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { paths } from '@portico/deploy/checkout'
import { openPlatform } from '@portico/deploy/local'
import { InsideClient } from '../kit/inside-client.ts'
import { openBare } from './front-door/bare.ts'
import { enrolRunner, newKey, newSandbox, region, startInstantRunner } from './front-door/portico.ts'
import type { Measurement } from './measurement.ts'
import { row } from './stats.ts'

const samples = 300
const warmUp = 30
/** A small note, such as agents keep; another one each time, as a row that stays as it is costs SQLite no write. */
const noteOf = (step: number) => ({ step, said: 'portico '.repeat(24) })

export const store: Measurement = {
  rows: ['store.set', 'store.get'],
  async run({ say }) {
    await mkdir(paths.temporary, { recursive: true })
    const directory = await mkdtemp(join(paths.temporary, 'bench-'))
    try {
      await using bare = await openBare(join(directory, 'bare'), '')
      // The store is the object's alone: no machine has to be behind it.
      await using portico = await openStore(join(directory, 'platform'))
      const at = `${bare.target.url}/object/row`
      const set = await inTurns(
        (n) => portico.client.store.set('note', noteOf(n)),
        (n) => ask(at, { method: 'PUT', body: JSON.stringify(noteOf(n)) }),
        say,
      )
      const get = await inTurns(
        () => portico.client.store.get('note'),
        () => ask(at, {}),
        say,
      )
      const floor = 'bare Worker and object, SQLite'
      return [row('store.set', 'ms', set.ours, floor, set.floor), row('store.get', 'ms', get.ours, floor, get.floor)]
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  },
}

async function openStore(stateDir: string): Promise<{ client: InsideClient } & AsyncDisposable> {
  const platform = await openPlatform({ stateDir, runners: 0, region })
  try {
    const { tunnel, token } = await enrolRunner(platform)
    const runner = await startInstantRunner(tunnel, token)
    const close = async () => {
      await runner[Symbol.asyncDispose]()
      await platform.close()
    }
    try {
      const apiKey = await newKey(platform)
      const client = new InsideClient({ url: platform.url, apiKey }, await newSandbox(platform, apiKey))
      return { client, [Symbol.asyncDispose]: close }
    } catch (error) {
      await runner[Symbol.asyncDispose]()
      throw error
    }
  } catch (error) {
    await platform.close()
    throw error
  }
}

async function ask(url: string, init: RequestInit): Promise<void> {
  const answer = await fetch(url, init)
  const text = await answer.text()
  if (!answer.ok) throw new Error(`cannot measure: the bare object answered ${answer.status} ${text}`)
}

async function inTurns(
  ours: (n: number) => Promise<unknown>,
  floor: (n: number) => Promise<unknown>,
  say: (text: string) => void,
): Promise<{ ours: number[]; floor: number[] }> {
  const found = { ours: [] as number[], floor: [] as number[] }
  say('store')
  for (let n = 0; n < warmUp + samples; n++) {
    const start = performance.now()
    await ours(n)
    const middle = performance.now()
    await floor(n)
    if (n < warmUp) continue
    found.ours.push(middle - start)
    found.floor.push(performance.now() - middle)
  }
  return found
}
