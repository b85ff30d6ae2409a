/** 10,000 files in one directory, and 2 GB up and down with flat memory everywhere on the way. */

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { request } from 'node:http'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { atMost as lanes } from '../kit/at-most.ts'
import type { InsideClient } from '../kit/inside-client.ts'
import type { TestPlatform } from '../kit/platform.ts'
import { memoryDuring } from '../streams/processes.ts'
import { atMost, exactly, type Finding, type Proof, type Scene, seconds, shown, told, withSandbox } from './proof.ts'

const count = 10_000
const writers = 8
const largeBytes = 2 * 2 ** 30
const pieceBytes = 2 ** 20
/** What each part may grow by with the second half: what the collectors leave behind. Of the agent, from the start. */
const boundMib = { workerd: 48, runner: 48, agent: 32 } as const

export const files: readonly Proof[] = [
  { name: 'files.many', run: (scene) => withSandbox(scene, { image: 'python' }, (client) => many(client, scene)) },
  {
    name: 'files.large',
    run: (scene) => withSandbox(scene, { image: 'python', diskMiB: 4096 }, (client) => large(client, scene)),
  },
]

/** Every file by a call of its own, then one listing. */
async function many(client: InsideClient, { say }: Scene): Promise<Finding[]> {
  const start = performance.now()
  const indices = Array.from({ length: count }, (_, index) => index)
  await lanes(writers, indices, (index) => client.files.write(`/root/many/file-${index}`, `number ${index}\n`))
  const wrote = seconds(start)
  say(`${count} files written in ${wrote}`)
  const listing = performance.now()
  const { entries, truncated } = await client.files.list('/root/many')
  const took = performance.now() - listing
  const wanted = new Map(indices.map((index) => [`file-${index}`, `number ${index}\n`.length]))
  const right = entries.filter(({ name, size, is_dir }) => !is_dir && wanted.get(name) === size)
  const one = await client.files.list('/root/many', `&limit=${count - 1}`)
  const deep = await client.files.list('/root', '&depth=2&limit=20000')
  return [
    told(`written by ${writers} at once`, wrote),
    exactly('entries', entries.length, count),
    exactly('with the right name and size', new Set(right.map(({ name }) => name)).size, count),
    exactly('truncated', String(truncated), 'false'),
    told('listed in', `${Math.round(took)} ms`),
    exactly('with a limit of one fewer', `${one.entries.length} ${one.truncated}`, `${count - 1} true`),
    exactly('from above, two levels deep', deep.entries.filter(({ name }) => name.startsWith('many/')).length, count),
    exactly('in the guest', (await client.shell('ls /root/many | wc -l')).trim(), String(count)),
  ]
}

async function large(client: InsideClient, { test, say }: Scene): Promise<Finding[]> {
  const pids = { workerd: test.platform.frontDoor.child.pid ?? 0, runner: test.platform.runners[0]?.pid ?? 0 }
  const url = `${test.platform.url}/v1/runs/${client.id}/files`
  const path = '/root/large'
  // So that what the first call of its kind takes is not counted.
  await client.files.write('/root/first', Buffer.alloc(8 << 20))
  await client.files.read('/root/first')
  const found: Finding[] = []
  const hashes: string[] = []
  for (const [what, run] of [
    ['up', (onHalf: () => void) => upload(test, `${url}/upload?path=${path}`, onHalf)],
    ['down', (onHalf: () => void) => download(test, `${url}/download?path=${path}`, onHalf)],
  ] as const) {
    const agentBefore = await agentMib(client, true)
    const start = performance.now()
    const { promise: half, resolve: onHalf } = Promise.withResolvers<void>()
    const transfer = run(onHalf)
    const first = await memoryDuring(pids, () => Promise.race([half, transfer]))
    const second = await memoryDuring(pids, () => transfer)
    const took = (performance.now() - start) / 1000
    say(`${what} in ${took.toFixed(1)} s`)
    hashes.push(second.value)
    found.push(told(`${what}: rate`, `${Math.round(largeBytes / took / 1e6)} MB/s, ${took.toFixed(0)} s`))
    for (const [index, { name, beforeMib, mostMib }] of first.growth.entries()) {
      const later = second.growth[index]?.mostMib ?? Number.NaN
      found.push(
        told(`${what}: ${name} with the first GB`, `${shown(mostMib - beforeMib)} MiB more, from ${shown(beforeMib)}`),
        atMost(
          `${what}: ${name} with the second GB`,
          later - mostMib,
          boundMib[name as keyof typeof boundMib],
          'MiB more',
        ),
      )
    }
    const grown = (await agentMib(client)) - agentBefore
    found.push(atMost(`${what}: agent`, grown, boundMib.agent, 'MiB more'))
  }
  const { size } = await client.files.stat(path)
  return [
    exactly('size in the guest', size, largeBytes),
    exactly('SHA-256 down, as it went up', hashes[1] ?? '', hashes[0] ?? ''),
    ...found,
  ]
}

/** Of the agent's process in the guest: what it holds, or since `reset` at most. */
async function agentMib(client: InsideClient, reset = false): Promise<number> {
  const status = await client.shell(`${reset ? 'echo 5 >/proc/1/clear_refs; ' : ''}cat /proc/1/status`)
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024
}

/** Pieces that differ from each other and, but for some, are mostly zeros; never more than a few of them at a time. */
function* pieces(): Generator<Buffer> {
  const noise = Buffer.alloc(pieceBytes)
  for (let at = 0, state = 1; at < noise.length; at += 4) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    noise.writeUInt32LE(state, at)
  }
  for (let index = 0; index < largeBytes / pieceBytes; index++) {
    const piece = index % 4 === 0 ? Buffer.from(noise) : Buffer.alloc(pieceBytes)
    piece.writeUInt32LE(index, 0)
    piece.writeUInt32LE(index ^ 0xffff, (index * 4096) % (pieceBytes - 4))
    yield piece
  }
}

async function upload(test: TestPlatform, url: string, onHalf: () => void): Promise<string> {
  const hash = createHash('sha256')
  const asking = request(url, {
    method: 'POST',
    headers: { authorization: `Bearer ${test.platform.apiKey}`, 'content-length': largeBytes },
  })
  const answered = once(asking, 'response') as Promise<[IncomingMessage]>
  let sent = 0
  const source = Readable.from(
    (function* () {
      for (const piece of pieces()) {
        hash.update(piece)
        sent += piece.length
        if (sent === largeBytes / 2) onHalf()
        yield piece
      }
    })(),
    { highWaterMark: 4 },
  )
  await Promise.all([pipeline(source, asking), answered])
  const [answer] = await answered
  const said = await text(answer)
  if (answer.statusCode !== 200) throw new Error(`the upload answered ${answer.statusCode}: ${said}`)
  return hash.digest('hex')
}

async function download(test: TestPlatform, url: string, onHalf: () => void): Promise<string> {
  const hash = createHash('sha256')
  const answer = await fetch(url, { headers: { authorization: `Bearer ${test.platform.apiKey}` } })
  if (!answer.ok || answer.body === null) throw new Error(`the download answered ${answer.status}`)
  let received = 0
  for await (const bytes of answer.body) {
    hash.update(bytes)
    received += bytes.length
    if (received >= largeBytes / 2) onHalf()
  }
  return hash.digest('hex')
}
