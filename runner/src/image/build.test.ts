import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FakeClock } from '@portico/shared/clock'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { silentLog } from '../log.ts'
import { Builder, type PullStep } from './build.ts'
import { Catalog } from './catalog.ts'
import { Records, rootfsOf } from './records.ts'
import { parseReference } from './reference.ts'
import { imageTools } from './tools.ts'

const config = { env: {}, workdir: '/', user: '', entrypoint: [], cmd: [] }
const reference = parseReference('app:1')
const never = new AbortController().signal
const tooMuch = 2 ** 52
let folder: string
let catalog: Catalog
let builder: Builder
let begun: { fail: () => void }[]
let onBegun: () => void

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'portico-builds-'))
  const records = await Records.open(folder)
  catalog = new Catalog({ records, clock: new FakeClock(1_700_000_000_000), inUse: () => [] }, [])
  begun = []
  onBegun = () => undefined
  const fetch = () =>
    new Promise<never>((_, reject) => {
      begun.push({ fail: () => reject(new Error('fetch failed')) })
      onBegun()
    })
  const limits = { cacheLimitBytes: tooMuch, imageLimitBytes: tooMuch }
  builder = new Builder({ folder, ...limits, tools: imageTools, log: silentLog(), records, catalog, skopeo: { fetch } })
})
afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

test('two go on at once; the next waits, is told of, and may leave', async () => {
  const first = [build(10), build(10)]
  const failed = Promise.all(first.map(async (one) => await expect(one).rejects.toThrow('fetch failed')))
  await expect.poll(() => begun.length).toBe(2)
  const steps: PullStep[] = []
  const leaving = new AbortController()
  const left = build(10, leaving.signal, (step) => steps.push(step))
  const next = expect(build(10)).rejects.toThrow('fetch failed')
  leaving.abort(new Error('enough'))
  await expect(left).rejects.toThrow('enough')
  expect([steps, begun.length]).toEqual([[{ phase: 'pull', doneBytes: 0, totalBytes: 10 }], 2])
  const third = new Promise<void>((resolve) => {
    onBegun = resolve
  })
  begun[0]?.fail()
  await third
  for (const { fail } of begun) fail()
  await failed
  await next
})

test('a manifest that claims more than an image may be is refused before anything goes', async () => {
  await add('kept')
  await expect(build(tooMuch + 1)).rejects.toMatchObject({ code: 'image_unsuitable' })
  expect([catalog.size, begun.length]).toEqual([1, 0])
})

test('nothing goes for what has no room even then', async () => {
  await add('kept')
  await expect(build(tooMuch)).rejects.toMatchObject({ code: 'image_no_space' })
  expect([catalog.size, begun.length]).toEqual([1, 0])
})

async function build(bytes: number, signal = never, onStep: (step: PullStep) => void = () => undefined) {
  const digest = rootfsOf(['image'])
  const manifest = { layers: [], configDigest: digest, bytes }
  const resolved = { name: `docker.io/library/app@${digest}`, digest, manifest, config: { diffIds: [], image: config } }
  return await builder.build(reference, resolved, rootfsOf([]), signal, onStep)
}

async function add(name: string): Promise<void> {
  const rootfs = rootfsOf([name])
  await writeFile(join(folder, 'rootfs', `${rootfs.slice('sha256:'.length)}.erofs`), 'x')
  const files = { rootfs, sizeBytes: 1, fileDigest: rootfs }
  const found = { name: `docker.io/library/${name}@${rootfs}`, digest: rootfs, config, ...files }
  await catalog.add(found, `docker.io/library/${name}:1`)
}
