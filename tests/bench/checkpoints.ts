/**
 * A checkpoint of a sandbox that has changed 10 or 200 MB since the one before: how long its writers stand still, the whole call until the checkpoint is on
 * the disk for good, and its restore until the first command has answered; next to copying as much in the guest and a bare restore.
 */

import { InsideClient } from '../kit/inside-client.ts'
import { bareRestores } from './bare-template.ts'
import type { Measurement, Run } from './measurement.ts'
import { timed } from './sandboxes.ts'
import { type Row, row } from './stats.ts'
import { withConnection } from './whole-path.ts'

const sizes = [10, 200] as const
const kinds = ['pause', 'create', 'restore'] as const
/** A write of 200 MB takes some seconds under emulation. */
const mostSamples = 10

export const checkpoints: Measurement = {
  rows: sizes.flatMap((size) => kinds.map((kind) => `checkpoint.${kind}.${size}MB`)),
  async run(run) {
    const isWanted = (size: number) => kinds.some((kind) => run.wanted(`checkpoint.${kind}.${size}MB`))
    run.say('checkpoints: floor')
    const bare = await bareRestores(Math.min(run.samples, mostSamples))
    return await withConnection(async ({ sandbox, url, apiKey }) => {
      const client = new InsideClient({ url, apiKey }, sandbox.id)
      const rows: Row[] = []
      // The first restore of its kind on a host boots a machine for those that come after it.
      await client.checkpoints.restore((await client.checkpoints.create('', true)).checkpoint_id)
      for (const size of sizes) if (isWanted(size)) rows.push(...(await ofSize(client, size, bare, run)))
      return rows
    })
  },
}

async function ofSize(client: InsideClient, size: number, bare: readonly number[], run: Run): Promise<Row[]> {
  const found = { pause: [] as number[], create: [] as number[], restore: [] as number[], copy: [] as number[] }
  const samples = Math.min(run.samples, mostSamples)
  await client.shell(`head -c ${size}000000 /dev/urandom >/dev/shm/source; mkdir -p /root/of`)
  for (let n = 0; n < samples; n++) {
    run.say(`checkpoint ${size} MB ${n + 1}/${samples}`)
    const copied = await client.shell(
      's=$(date +%s%N); cp /dev/shm/source /root/of/copy; sync /root/of/copy; e=$(date +%s%N); echo $((e-s)); rm /root/of/copy; sync',
    )
    found.copy.push(Number(copied) / 1e6)
    await client.shell(`cp /dev/shm/source /root/of/${n % 2}`)
    let created: Awaited<ReturnType<typeof client.checkpoints.create>> | undefined
    found.create.push(
      await timed(async () => {
        created = await client.checkpoints.create(`${n}`, true)
      }),
    )
    if (created === undefined) throw new Error('cannot measure: no checkpoint')
    found.pause.push(created.pause_ms)
    const { checkpoint_id } = created
    await client.shell(`rm /root/of/${n % 2}`)
    found.restore.push(
      await timed(async () => {
        await client.checkpoints.restore(checkpoint_id)
        await client.shell('true')
      }),
    )
    // What is in memory alone goes with a restore.
    await client.shell(`[ -e /dev/shm/source ] || cp /root/of/${n % 2} /dev/shm/source`)
    await client.checkpoints.delete(checkpoint_id)
  }
  const name = (kind: (typeof kinds)[number]) => `checkpoint.${kind}.${size}MB`
  return [
    row(name('pause'), 'ms', found.pause, 'cp and sync in the guest', found.copy),
    row(name('create'), 'ms', found.create, 'cp and sync in the guest', found.copy),
    row(name('restore'), 'ms', found.restore, 'bare QEMU restore', bare),
  ]
}
