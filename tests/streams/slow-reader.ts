/**
 * A guest that has 1 GB to write and a reader that takes 1 MB a second: the guest waits, and nothing in between takes it in. Then the reader takes the rest
 * as fast as it comes. Meanwhile others ask: another stream of the same machine, and another machine.
 */

import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { request } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'
import type { WebSocket } from 'ws'
import { quantile } from '../bench/stats.ts'
import type { TestPlatform } from '../kit/platform.ts'
import type { PortClient } from '../kit/port-client.ts'
import { startApp } from './app.ts'
import { memoryDuring } from './processes.ts'
import { atMost, exactly, type Finding, type Proof, type Scene, shown, told } from './proof.ts'

const totalBytes = 1024 * 2 ** 20
const slowSeconds = 60
const bytesPerSecond = 1_000_000
/** What each of the platform's processes may grow by: windows of the streams on both hops, buffers of the sockets, what the collectors leave. */
const boundMib = { workerd: 64, runner: 48 } as const

export const slowReader: readonly Proof[] = [
  { name: 'slow-reader.exec', run: (scene) => show(scene, (test, id) => execStream(test, id), decodedLength) },
  {
    name: 'slow-reader.port',
    run: (scene) =>
      show(
        scene,
        (_test, _id, app) => app.open('/large?mib=1024'),
        (bytes) => bytes.length,
      ),
  },
]

type Opening = (test: TestPlatform, id: string, app: PortClient) => Promise<IncomingMessage>

async function show({ test, say }: Scene, open: Opening, lengthOf: (bytes: Buffer) => number): Promise<Finding[]> {
  await using loud = await test.portico.create({ image: 'python' })
  await using other = await test.portico.create({ image: 'python' })
  const app = await startApp(test.platform, loud)
  const same = await app.socket('/echo')
  const away = await (await startApp(test.platform, other)).socket('/echo')
  // Both at once, as later: what two that ask cost each other is not the slow reader's doing.
  const [quietSame, quietAway] = await Promise.all([latencies(same, 5000), latencies(away, 5000)])
  const quiet = { same: quietSame, away: quietAway }
  const pids = { workerd: test.platform.frontDoor.child.pid ?? 0, runner: test.platform.runners[0]?.pid ?? 0 }
  const slow = await memoryDuring(pids, async () => {
    const source = await open(test, loud.id, app)
    const asked = Promise.all([latencies(same, slowSeconds * 1000), latencies(away, slowSeconds * 1000)])
    const bytes = await takeSlowly(source, lengthOf)
    const [sameMs, awayMs] = await asked
    say(`took ${Math.round(bytes / 1e6)} MB in ${slowSeconds} s; now the rest`)
    return { source, bytes, same: sameMs, away: awayMs }
  })
  const start = performance.now()
  const fast = await memoryDuring(pids, () => takeRest(slow.value.source, lengthOf))
  const rate = fast.value / ((performance.now() - start) / 1000) / 1e6
  same.terminate()
  away.terminate()
  return [
    told('taken slowly', `${Math.round(slow.value.bytes / 1e6)} MB in ${slowSeconds} s`),
    ...slow.growth.map(({ name, beforeMib, mostMib }) => ({
      ...atMost(`${name} grew meanwhile by`, mostMib - beforeMib, boundMib[name as keyof typeof boundMib], 'MiB'),
      found: `${shown(mostMib - beforeMib)} MiB, from ${shown(beforeMib)}`,
    })),
    kept('another stream of the same machine', quiet.same, slow.value.same),
    kept('another machine', quiet.away, slow.value.away),
    exactly('bytes in all', slow.value.bytes + fast.value, totalBytes),
    told('the rest came with', `${rate.toFixed(1)} MB/s`),
    ...fast.growth.map(({ name, beforeMib, mostMib }) =>
      told(`${name} grew then by`, `${shown(mostMib - beforeMib)} MiB`),
    ),
  ]
}

/** Half of the answers may take twice what they take when it is quiet, and 5 ms for the emulated machine. */
function kept(what: string, quiet: readonly number[], loud: readonly number[]): Finding {
  const [before, during] = [quantile(quiet, 0.5), quantile(loud, 0.5)]
  const limit = 2 * before + 5
  const p99 = `p99 ${shown(quantile(loud, 0.99))} (${shown(quantile(quiet, 0.99))})`
  return {
    what: `${what}: p50`,
    found: `${shown(during)} ms (quiet ${shown(before)}), ${p99}`,
    bound: `<= ${shown(limit)} ms`,
    holds: during <= limit,
  }
}

/** Round trips of small messages for some time, one after the other with a pause between. */
async function latencies(socket: WebSocket, forMs: number): Promise<number[]> {
  const found: number[] = []
  const end = performance.now() + forMs
  while (performance.now() < end) {
    const start = performance.now()
    const back = once(socket, 'message')
    socket.send('x')
    await back
    found.push(performance.now() - start)
    await wait(20)
  }
  return found
}

async function takeSlowly(source: IncomingMessage, lengthOf: (bytes: Buffer) => number): Promise<number> {
  const start = performance.now()
  let [read, taken] = [0, 0]
  while (performance.now() - start < slowSeconds * 1000) {
    const due = ((performance.now() - start) / 1000) * bytesPerSecond
    const bytes = read < due ? (source.read() as Buffer | null) : null
    if (bytes === null) {
      await wait(10)
      continue
    }
    read += bytes.length
    taken += lengthOf(bytes)
  }
  return taken
}

async function takeRest(source: IncomingMessage, lengthOf: (bytes: Buffer) => number): Promise<number> {
  let taken = 0
  for await (const bytes of source) taken += lengthOf(bytes as Buffer)
  return taken
}

/** `exec/stream` of a command that writes the same letter all the time. */
async function execStream(test: TestPlatform, id: string): Promise<IncomingMessage> {
  const asking = request(`${test.platform.url}/v1/runs/${id}/exec/stream`, {
    method: 'POST',
    headers: { authorization: `Bearer ${test.platform.apiKey}`, 'content-type': 'application/json' },
  })
  const answered = once(asking, 'response') as Promise<[IncomingMessage]>
  asking.end(JSON.stringify({ command: `head -c ${totalBytes} /dev/zero | tr '\\0' Z`, timeout: 3600 }))
  const [answer] = await answered
  if (answer.statusCode !== 200) throw new Error(`exec/stream answered ${answer.statusCode}`)
  return answer
}

/** How many bytes of the command's output these bytes hold: the letter stands nowhere else in the events. */
function decodedLength(bytes: Buffer): number {
  let count = 0
  for (const byte of bytes) if (byte === 0x5a) count++
  return count
}
