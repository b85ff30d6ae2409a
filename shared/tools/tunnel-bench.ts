/** What the multiplexer itself costs: two of them in one process, nothing between. `node shared/tools/tunnel-bench.ts` */

import { Muxer } from '../src/tunnel/muxer.ts'
import type { MuxerOptions, TunnelStream } from '../src/tunnel/types.ts'

const megabytes = 100
const smallStreams = 100_000
const rounds = 5

function pair(window: number, serve: (stream: TunnelStream) => Promise<void>): Muxer {
  const end = (opens: 'odd' | 'even', other: () => Muxer, more: Partial<MuxerOptions> = {}): Muxer =>
    new Muxer({
      carrier: { send: (bytes) => other().receive(bytes), close: () => undefined },
      opens,
      hello: { generation: 1, role: 'runner', window },
      disconnected: 'runner_disconnected',
      messages: true,
      ...more,
    })
  const near: Muxer = end('odd', () => far)
  const far: Muxer = end('even', () => near, { onStream: (stream) => void serve(stream) })
  return near
}

async function sink(stream: TunnelStream): Promise<void> {
  stream.accept()
  while (await stream.read());
  stream.end()
}

async function echo(stream: TunnelStream): Promise<void> {
  stream.accept()
  for (let bytes = await stream.read(); bytes; bytes = await stream.read()) await stream.write(bytes)
  stream.end()
}

/** Megabytes a second through one stream. */
async function throughput(window: number): Promise<number> {
  const muxer = pair(window, sink)
  await muxer.ready
  const stream = muxer.open()
  const block = new Uint8Array(1_000_000)
  const start = performance.now()
  for (let count = 0; count < megabytes; count++) await stream.write(block)
  stream.end()
  await stream.done
  return (megabytes / (performance.now() - start)) * 1000
}

/** Small request and answer streams a second. */
async function calls(concurrency: number): Promise<number> {
  const muxer = pair(262_144, echo)
  await muxer.ready
  const head = new TextEncoder().encode('{"op":"sandbox.stats"}')
  const caller = async () => {
    for (let count = 0; count < smallStreams / concurrency; count++) {
      const stream = muxer.open(head)
      stream.write(head).catch(() => undefined)
      stream.end()
      await stream.head()
      while (await stream.read());
    }
  }
  const start = performance.now()
  await Promise.all(Array.from({ length: concurrency }, caller))
  return (smallStreams / (performance.now() - start)) * 1000
}

async function report(name: string, unit: string, measure: () => Promise<number>): Promise<void> {
  const values: number[] = []
  for (let round = 0; round < rounds; round++) values.push(await measure())
  values.sort((a, b) => a - b)
  const [least, median, most] = [values[0], values[rounds >> 1], values[rounds - 1]].map((one) => Math.round(one ?? 0))
  console.log(`${name.padEnd(44)} ${median} ${unit} (${least} to ${most})`)
}

await report('100 MB through one stream, window 256 KiB', 'MB/s', () => throughput(262_144))
await report('100 MB through one stream, window 4 MiB', 'MB/s', () => throughput(4_194_304))
for (const concurrency of [1, 32, 256])
  await report(`small calls, ${concurrency} at once`, 'streams/s', () => calls(concurrency))
