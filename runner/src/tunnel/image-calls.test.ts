/** Calls on images over a real tunnel, with a store that has no registry. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { answers, pullProgress } from '@portico/shared/control'
import { call } from '@portico/shared/tunnel'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { daemonConfig, parseConfig } from '../config.ts'
import { type Daemon, startDaemon } from '../daemon.ts'
import { silentLog } from '../log.ts'
import { digestOf, FakeStore } from '../testing/fake-store.ts'
import { FakeDriver } from '../vm/fake/index.ts'
import { ScriptedEdge } from './scripted-edge.ts'

const alpine = 'docker.io/library/alpine:3.20'
const name = `docker.io/library/alpine@${digestOf('a')}`
const signal = new AbortController().signal

let folder: string
let edge: ScriptedEdge
let daemon: Daemon
let store: FakeStore

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'portico-image-calls-'))
  const policy = join(folder, 'portico.yaml')
  await writeFile(policy, "image_allowlist: [python, 'docker.io/library/*']\nmax_concurrent_sandboxes: 1\n")
  edge = await ScriptedEdge.start()
  store = new FakeStore({ [alpine]: 'a' })
  const config = {
    edgeUrl: edge.url,
    token: 'secret',
    stateDir: join(folder, 'state'),
    assets: '/nowhere',
    policy,
    memoryMib: 1024,
    poolSize: 0,
    tunnelSockets: 1,
  }
  const parts = { driver: new FakeDriver(), imageStore: store, log: silentLog(), random: () => 0 }
  daemon = await startDaemon(parseConfig(daemonConfig, config), parts)
  await edge.until(() => edge.links.length === 1)
})
afterEach(async () => {
  await daemon.stop(AbortSignal.abort())
  await edge.close()
  await rm(folder, { recursive: true, force: true })
})

function muxer() {
  const [link] = edge.links
  if (!link) throw new Error('no socket is open')
  return link.muxer
}

async function pull(reference: string) {
  const head = { op: 'image.pull', reference, refresh: false }
  const { stream } = await call(muxer(), head, answers['image.pull'], { signal })
  let text = ''
  for (let bytes = await stream.read(); bytes; bytes = await stream.read()) text += Buffer.from(bytes).toString()
  const lines = text.split('\n').filter((line) => line !== '')
  return lines.map((line) => pullProgress.parse(JSON.parse(line)))
}

const ask = async <Op extends 'image.list' | 'image.remove' | 'sandbox.create'>(op: Op, fields = {}) =>
  (await call(muxer(), { op, ...fields }, answers[op], { signal })).answer

it('tells how a pull goes and what came of it', async () => {
  expect(await pull(alpine)).toMatchObject([
    { event: 'progress', phase: 'pull', done_bytes: 1, total_bytes: 2 },
    { event: 'done', image: { name, reference: alpine, digest: digestOf('a') }, took_ms: { pull: 1 } },
  ])
  expect(await ask('image.list')).toMatchObject({ ok: true, images: [{ name }] })
  expect(daemon.engine.status().images).toEqual(['python', name, alpine])
})

it('tells a pull that fails in its last line, and one that is not allowed in its head', async () => {
  expect((await pull('docker.io/library/alpine:9')).at(-1)).toMatchObject({
    event: 'error',
    error: { code: 'image_missing' },
  })
  await expect(pull('ghcr.io/acme/app:1')).rejects.toMatchObject({ code: 'image_not_allowed' })
})

it('ends a pull whose caller has gone', async () => {
  store.gate = new Promise(() => undefined)
  const ended = Promise.withResolvers<unknown>()
  const pullOf = store.pull.bind(store)
  store.pull = (reference, options) => {
    const pulling = pullOf(reference, options)
    pulling.catch(ended.resolve)
    return pulling
  }
  const head = { op: 'image.pull', reference: alpine, refresh: false }
  const { stream } = await call(muxer(), head, answers['image.pull'], { signal })
  await stream.read()
  stream.reset({ code: 'cancelled', message: 'cannot go on: nobody waits' })
  expect(await ended.promise).toMatchObject({ code: 'cancelled' })
})

it('removes an image, and answers the same once it is gone', async () => {
  await pull(alpine)
  expect(await ask('image.remove', { name })).toEqual({ ok: true })
  expect(await ask('image.remove', { name })).toEqual({ ok: true })
  expect(await ask('image.list')).toEqual({ ok: true, images: [] })
})

it('runs no more sandboxes than the policy says, and says so', async () => {
  const spec = { image: 'alpine:3.20', vcpus: 1, mem_mib: 128, disk_mib: 64, idle_timeout: 0, env: {} }
  const create = (sandbox: string) => ask('sandbox.create', { sandbox, generation: 1, spec })
  expect(await create('a')).toMatchObject({ ok: true, resolved_image: name })
  await expect(create('b')).rejects.toMatchObject({
    code: 'capacity',
    message: expect.stringContaining('max_concurrent_sandboxes (1) reached'),
  })
  expect(daemon.engine.status()).toMatchObject({ freeSlots: 0, policy: { max_concurrent_sandboxes: 1 } })
})
