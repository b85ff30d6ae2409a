/** Files through the whole path, next to raw bytes through a virtio port of the same kind. */

import type { Sandbox } from '@portico/sdk'
import { channelFloor } from './channel-floor.ts'
import type { Measurement } from './measurement.ts'
import { type Row, row } from './stats.ts'
import { withSandbox } from './whole-path.ts'

const small = 1_000_000
const large = 50_000_000

export const transfer: Measurement = {
  rows: ['upload.1MB', 'upload.50MB', 'download.50MB'],
  async run({ say }) {
    say('transfer: floors')
    const into = await channelFloor.into(large, 3)
    const outOf = await channelFloor.outOf(large, 3)
    return await withSandbox(async (sandbox) => [
      await upload(sandbox, 'upload.1MB', small, 30, into, say),
      await upload(sandbox, 'upload.50MB', large, 5, into, say),
      await download(sandbox, 5, outOf, say),
    ])
  },
}

const floorName = 'raw virtio port'

async function upload(
  sandbox: Sandbox,
  name: string,
  bytes: number,
  samples: number,
  floor: readonly number[],
  say: (text: string) => void,
): Promise<Row> {
  say(name)
  const data = new Uint8Array(bytes)
  const found: number[] = []
  for (let n = 0; n < samples; n++) {
    const start = performance.now()
    await sandbox.files.write('/data/upload', data)
    found.push(bytes / 1000 / (performance.now() - start))
  }
  return row(name, 'MB/s', found, floorName, floor)
}

async function download(
  sandbox: Sandbox,
  samples: number,
  floor: readonly number[],
  say: (text: string) => void,
): Promise<Row> {
  say('download.50MB')
  await sandbox.files.write('/data/download', new Uint8Array(large))
  const found: number[] = []
  for (let n = 0; n < samples; n++) {
    const start = performance.now()
    const { length } = await sandbox.files.read('/data/download')
    if (length !== large) throw new Error(`cannot measure: ${length} bytes came back`)
    found.push(large / 1000 / (performance.now() - start))
  }
  return row('download.50MB', 'MB/s', found, floorName, floor)
}
