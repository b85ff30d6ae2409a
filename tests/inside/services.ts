/** Real services: started in order by one start, used, restored from a checkpoint with their data, forked with their data. */

import { InsideClient } from '../kit/inside-client.ts'
import { allRunning, contents, redis, sql, startDatabases, statusOf, write } from './databases.ts'
import { exactly, type Finding, type Proof, type Scene, seconds, told, withSandbox } from './proof.ts'

const rows = 10_000
const image = { image: 'services', memMiB: 1024, diskMiB: 4096 } as const

export const services: readonly Proof[] = [
  {
    name: 'services.restore',
    run: (scene) => withSandbox(scene, image, (client) => restoreWithData(client, scene)),
  },
  {
    name: 'services.fork',
    run: (scene) =>
      withSandbox(scene, image, async (client, sandbox) => {
        const started = await startAndWrite(client, scene)
        const before = await contents(client)
        const { children } = await sandbox.fork()
        const child = new InsideClient(scene.test.platform, children[0]?.id ?? '')
        const found = [
          ...started,
          exactly('of the child: services', await statusOf(child), allRunning),
          exactly('of the child: data', await contents(child), before),
        ]
        await sql(child, 'delete from notes where id > 10')
        await redis(child, 'FLUSHALL')
        const after = await contents(client)
        found.push(exactly('of the parent, once the child has deleted', after, before))
        await client.services.stop('pgbouncer')
        found.push(
          exactly('of the child, once the parent has stopped one', await statusOf(child), allRunning),
          exactly('of the child: rows it left', await sql(child, 'select count(*) from notes'), '10'),
        )
        await children[0]?.destroy()
        return found
      }),
  },
]

async function startAndWrite(client: InsideClient, { say }: Scene): Promise<Finding[]> {
  const start = performance.now()
  await startDatabases(client)
  const took = seconds(start)
  say(`three services started in ${took}`)
  const order = await statusOf(client)
  await write(client, rows)
  return [told('three services by one start', took), exactly('in the order of their starts', order, allRunning)]
}

async function restoreWithData(client: InsideClient, scene: Scene): Promise<Finding[]> {
  const found = await startAndWrite(client, scene)
  const before = await contents(client)
  const created = await client.checkpoints.create('with data', true)
  scene.say(`checkpoint: pause ${created.pause_ms} ms, ${created.size_bytes} bytes`)
  await sql(client, 'update notes set body = id::text')
  await sql(client, 'insert into notes select n, n::text from generate_series(20000, 20100) n')
  await redis(client, 'DEL', 'key:1', 'key:2')
  await client.shell('rm -rf /var/lib/redis/* && echo gone >/root/after')
  await client.services.stop('redis')
  const changed = await client.files.exists('/root/after')
  const start = performance.now()
  const restored = await client.checkpoints.restore(created.checkpoint_id)
  const took = seconds(start)
  return [
    ...found,
    told('writers stood still for', `${created.pause_ms.toFixed(1)} ms`),
    told('the checkpoint takes', `${(created.size_bytes / 1e6).toFixed(1)} MB`),
    exactly(
      'a file made after it: before and after the restore',
      `${changed} ${await client.files.exists('/root/after')}`,
      'true false',
    ),
    exactly('started by the restore', restored.started_services.toSorted().join(', '), 'pgbouncer, postgres, redis'),
    exactly('failed at the restore', restored.failed_services.join(', '), ''),
    exactly('services after the restore', await statusOf(client), allRunning),
    exactly('data after the restore', await contents(client), before),
    told('the restore took', `${took}, by its own account ${Math.round(restored.restore_duration_ms)} ms`),
  ]
}
