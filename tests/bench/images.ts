/** The first sandbox of an image that a host does not have yet, phase by phase, and those after it, next to a preset's. */

import type { Portico } from '@portico/sdk'
import { imagePlatform } from '../kit/image-platform.ts'
import { pythonImage } from '../kit/oci-images/index.ts'
import type { Measurement, Run } from './measurement.ts'
import { type Row, row } from './stats.ts'

/** Each takes a platform of its own, and two boots. */
const mostPulls = 5
const shape = { vcpus: 1, memMiB: 1024 }
const phases = ['pull', 'unpack', 'erofs'] as const

export const images: Measurement = {
  rows: ['image.pull', 'image.unpack', 'image.erofs', 'image.template', 'create.image.second'],
  async run(run) {
    const image = await pythonImage({ workdir: '/app' })
    const found = { pull: [] as number[], unpack: [] as number[], erofs: [] as number[] }
    const first = { image: [] as number[], preset: [] as number[] }
    const second = { image: [] as number[], preset: [] as number[] }
    const pulls = Math.min(run.samples, mostPulls)
    for (let n = 0; n < pulls; n++) {
      run.say(`image.pull ${n + 1}/${pulls}`)
      await using own = await imagePlatform()
      const reference = await own.registry.push(image, 'library/python:3.12-slim')
      const { portico } = own.test
      const { tookMs } = await portico.images.pull(reference)
      for (const phase of phases) found[phase].push(tookMs[phase] ?? Number.NaN)
      first.image.push(await created(portico, reference))
      first.preset.push(await created(portico, 'python'))
      if (n === pulls - 1) await inTurns(portico, reference, run, second)
    }
    const rows: Row[] = phases.map((phase) => row(`image.${phase}`, 'ms', found[phase]))
    return [
      ...rows,
      row('image.template', 'ms', first.image, "a preset's first create", first.preset),
      row('create.image.second', 'ms', second.image, "a preset's create", second.preset),
    ]
  },
}

async function inTurns(
  portico: Portico,
  reference: string,
  { say, samples }: Run,
  found: { readonly image: number[]; readonly preset: number[] },
): Promise<void> {
  for (let n = 0; n < samples; n++) {
    say(`create.image.second ${n + 1}/${samples}`)
    found.image.push(await created(portico, reference))
    found.preset.push(await created(portico, 'python'))
  }
}

/** Milliseconds until the first command of a new sandbox has answered. */
async function created(portico: Portico, image: string): Promise<number> {
  const start = performance.now()
  await using sandbox = await portico.create({ image, ...shape, timeoutSec: 0 })
  await sandbox.exec(['/bin/true'])
  return performance.now() - start
}
