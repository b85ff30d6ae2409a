/**
 * Small files and a listing over the whole path, next to a call to the agent that does nothing. They take turns, so that whatever else the host does meets
 * all of them.
 */

import { InsideClient } from '../kit/inside-client.ts'
import type { Measurement } from './measurement.ts'
import { quantile, type Row, row } from './stats.ts'
import { withConnection } from './whole-path.ts'

const samples = 200
const warmUp = 20
const size = 4096
const entries = 1000
const folder = '/root/many'

export const files: Measurement = {
  rows: ['file.write.4KB', 'file.read.4KB', 'file.list.1000'],
  async run({ say, wanted }) {
    return await withConnection(async ({ sandbox, url, apiKey }) => {
      const client = new InsideClient({ url, apiKey }, sandbox.id)
      const rows: Row[] = []
      if (wanted('file.write.4KB') || wanted('file.read.4KB')) {
        say('file.write.4KB, file.read.4KB')
        rows.push(...(await small(client)))
      }
      if (wanted('file.list.1000')) {
        say('file.list.1000')
        rows.push(await listing(client))
      }
      return rows
    })
  },
}

async function small(client: InsideClient): Promise<Row[]> {
  const bytes = Buffer.alloc(size, 'portico ')
  const path = '/root/small'
  const found = await inTurns({
    write: () => client.files.write(path, bytes),
    read: () => client.files.read(path),
    nothing: () => client.services.list(),
  })
  const alone = await client.shell(`python3 -c "${inGuest}" ${size}`.replaceAll('\n', ';'))
  const [writeMs, readMs] = alone.trim().split(' ')
  const floor = 'a call that does nothing'
  return [
    {
      ...row('file.write.4KB', 'ms', found.write, floor, found.nothing),
      note: `${writeMs} ms by a program in the guest`,
    },
    { ...row('file.read.4KB', 'ms', found.read, floor, found.nothing), note: `${readMs} ms by a program in the guest` },
  ]
}

/** Milliseconds of a write and of a read of so many bytes by a program in the guest. */
const inGuest = [
  'import sys, time',
  'size, rounds = int(sys.argv[1]), 300',
  'start = time.perf_counter()',
  "[open('/root/alone', 'wb').write(bytes(size)) for _ in range(rounds)]",
  'middle = time.perf_counter()',
  "[open('/root/alone', 'rb').read() for _ in range(rounds)]",
  'end = time.perf_counter()',
  "print('%.2f %.2f' % ((middle - start) / rounds * 1000, (end - middle) / rounds * 1000))",
].join('\n')

async function listing(client: InsideClient): Promise<Row> {
  await client.shell(`mkdir -p ${folder}; cd ${folder}; for i in $(seq ${entries}); do echo $i >file-$i; done`)
  const found = await inTurns({
    list: async () => {
      const { entries: told, truncated } = await client.files.list(folder)
      if (told.length !== entries || truncated) throw new Error(`cannot measure: ${told.length} entries came`)
    },
    ls: () => client.shell(`ls -l ${folder}`),
  })
  const p99 = quantile(found.list, 0.99).toPrecision(3)
  return { ...row('file.list.1000', 'ms', found.list, '`ls -l` by an exec', found.ls), note: `p99 ${p99} ms` }
}

/** Milliseconds of each, one after the other, again and again. */
async function inTurns<Name extends string>(
  runs: Record<Name, () => Promise<unknown>>,
): Promise<Record<Name, number[]>> {
  const names = Object.keys(runs) as Name[]
  const found = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>
  for (let n = 0; n < warmUp + samples; n++) {
    for (const name of names) {
      const start = performance.now()
      await runs[name]()
      if (n >= warmUp) found[name].push(performance.now() - start)
    }
  }
  return found
}
