/** A pull that takes its time, and what sandboxes of an image cost once it is there. */

import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { ImageProgress } from '@portico/sdk'
import { largeImage, nodeImage, pythonImage } from '../kit/oci-images/index.ts'
import { atMost, exactly, type Finding, median, type Proof, type Scene, shape, shown, timed, told } from './proof.ts'

const largeBytes = 300_000_000
const slowBytesPerSecond = 30_000_000
const creates = 15

export const pulls: readonly Proof[] = [
  { name: 'pull.large', run: large },
  { name: 'pull.shared', run: shared },
  { name: 'create.second', run: second },
  { name: 'image.glibc', run: glibc },
]

async function large({ test, registry, say }: Scene): Promise<Finding[]> {
  say('an image of 300 MB …')
  const reference = await registry.push(await largeImage(largeBytes), 'large:1')
  registry.throttle(slowBytesPerSecond)
  const ending = new AbortController()
  const cancelled: number[] = []
  let cancelledAt = 0
  let underWay = 0
  const pull = test.portico.images.pull(reference, {
    name: 'large',
    signal: ending.signal,
    onProgress: async (step) => {
      cancelled.push(...pulled(step))
      if ((cancelled.at(-1) ?? 0) < largeBytes / 3 || ending.signal.aborted) return
      underWay = await partials(test)
      cancelledAt = performance.now()
      ending.abort()
    },
  })
  const end = await pull.then(
    () => 'ready',
    () => 'cancelled',
  )
  while ((await partials(test)) > 0 && performance.now() - cancelledAt < 30_000) await wait(50)
  const goneMs = performance.now() - cancelledAt
  registry.throttle(undefined)
  const seen: number[] = []
  const phases: string[] = []
  const onProgress = (step: ImageProgress) => {
    seen.push(...pulled(step))
    if (phases.at(-1) !== step.phase) phases.push(step.phase)
  }
  const image = await test.portico.images.pull(reference, { name: 'large', onProgress })
  const rising = seen.every((bytes, index) => bytes >= (seen[index - 1] ?? 0))
  return [
    exactly('a pull that is cancelled at a third', end, 'cancelled'),
    told('it had said how far it was', `${cancelled.length} times`),
    { what: 'the runner had of it', found: `${underWay} folder`, bound: '>= 1 folder', holds: underWay >= 1 },
    atMost('nothing is left of it after', goneMs / 1000, 10, 's'),
    exactly('phases of a whole one', phases.join(' '), 'resolve pull unpack erofs'),
    { what: 'it said how far it was', found: `${seen.length} times`, bound: '>= 5 times', holds: seen.length >= 5 },
    exactly('never less than before', String(rising), 'true'),
    {
      what: 'in the end',
      found: `${seen.at(-1)} bytes`,
      bound: `>= ${largeBytes}`,
      holds: (seen.at(-1) ?? 0) >= largeBytes,
    },
    told('milliseconds', JSON.stringify(image.tookMs)),
  ]
}

function pulled({ phase, doneBytes }: ImageProgress): number[] {
  return phase === 'pull' && doneBytes !== undefined ? [doneBytes] : []
}

/** What the runner has of pulls that have not ended. */
async function partials({ platform }: Scene['test']): Promise<number> {
  const folder = join(platform.fleet[0]?.stateDir ?? '', 'images')
  const names = await readdir(folder, { recursive: true }).catch(() => [])
  return names.filter((name) => name.endsWith('.partial')).length
}

async function shared({ test, registry }: Scene): Promise<Finding[]> {
  const image = await nodeImage({ workdir: '/srv' })
  const reference = await registry.push(image, 'shared:1')
  const before = registry.reads()
  const sandboxes = await Promise.all(
    Array.from({ length: 4 }, () => test.portico.create({ image: reference, ...shape })),
  )
  const after = registry.reads()
  for (const sandbox of sandboxes) await sandbox.destroy()
  const counts = image.layers.map(({ digest }) => (after.get(digest) ?? 0) - (before.get(digest) ?? 0))
  return [
    exactly('four creates of a new image read each layer so often', counts.join(' '), counts.map(() => 1).join(' ')),
  ]
}

/** In turns with the preset, so that whatever else the host does meets both. */
async function second({ test, registry }: Scene): Promise<Finding[]> {
  const reference = await registry.push(await pythonImage({ workdir: '/app' }), 'python:3.12-slim')
  const create = async (image: string) => {
    await using sandbox = await test.portico.create({ image, ...shape })
    await sandbox.exec(['/bin/true'])
  }
  const first = await timed(() => create(reference))
  await create('python')
  const found = { image: [] as number[], preset: [] as number[] }
  for (let n = 0; n < creates; n++) {
    found.image.push(await timed(() => create(reference)))
    found.preset.push(await timed(() => create('python')))
  }
  const [image, preset] = [median(found.image), median(found.preset)]
  return [
    told('first create, until it has run a command and is gone', `${shown(first)} ms`),
    told('later ones', `${shown(image)} ms`),
    told("a preset's", `${shown(preset)} ms`),
    atMost("as a multiple of a preset's", image / preset, 1.25, 'times'),
  ]
}

/** As `tests/e2e/images.vm.test.ts` has it with musl. */
async function glibc({ test, registry }: Scene): Promise<Finding[]> {
  const reference = await registry.push(await pythonImage({ workdir: '/app' }), 'python:3.12-slim')
  const sandbox = await test.portico.create({ image: reference, ...shape })
  const found = [
    exactly('a program of the image', (await sandbox.exec('python3 main.py')).stdout, 'hello from the image\n'),
  ]
  await sandbox.exec('echo kept >note; sleep 1000 >/dev/null 2>&1 & echo $! >pid')
  const { children } = await sandbox.fork()
  await sandbox.hibernate()
  await sandbox.resume()
  for (const [name, one] of [
    ['hibernated and resumed', sandbox] as const,
    ...children.map((child) => ['a fork', child] as const),
  ]) {
    found.push(exactly(name, (await one.exec('cat note /proc/$(cat pid)/comm')).stdout, 'kept\nsleep\n'))
    await one.destroy()
  }
  return found
}
