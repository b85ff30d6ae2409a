/** What `curl` does through a port: a large upload, a range, Server-Sent Events. */

import { execFile, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdtemp, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { paths } from '@portico/deploy/checkout'
import type { PortClient } from '../kit/port-client.ts'
import { startApp } from './app.ts'
import { atMost, exactly, type Finding, type Proof, type Scene, told } from './proof.ts'

const uploadBytes = 200_000_000
const events = 30
const common = ['--silent', '--show-error', '--fail', '--noproxy', '*', '--max-time', '300']

export const curl: readonly Proof[] = [
  { name: 'upload', run: withApp(upload) },
  { name: 'range', run: withApp(range) },
  { name: 'events', run: withApp(serverSentEvents) },
]

function withApp(show: (client: PortClient) => Promise<Finding[]>): Proof['run'] {
  return async ({ test }: Scene) => {
    await using sandbox = await test.portico.create({ image: 'python' })
    return await show(await startApp(test.platform, sandbox))
  }
}

async function upload(client: PortClient): Promise<Finding[]> {
  const folder = await mkdtemp(join(paths.temporary, 'streams-'))
  try {
    const file = join(folder, 'upload')
    const sha256 = await writeRandom(file, uploadBytes)
    const { stdout } = await run(
      '--upload-file',
      file,
      '--request',
      'POST',
      '--write-out',
      '\n%{time_total}',
      `${client.url}/upload`,
    )
    const [body = '', seconds = ''] = stdout.split('\n')
    const answer = JSON.parse(body) as { size: number; sha256: string }
    return [
      exactly('bytes that arrived', answer.size, uploadBytes),
      exactly('their SHA-256', answer.sha256.slice(0, 16), sha256.slice(0, 16)),
      told('rate', `${Math.round(uploadBytes / Number(seconds) / 1e6)} MB/s`),
    ]
  } finally {
    await rm(folder, { recursive: true })
  }
}

async function writeRandom(path: string, size: number): Promise<string> {
  const file = await open(path, 'w')
  for (let left = size; left > 0; left -= 1_000_000) await file.write(randomBytes(Math.min(left, 1_000_000)))
  await file.close()
  const hash = createHash('sha256')
  for await (const piece of createReadStream(path)) hash.update(piece as Buffer)
  return hash.digest('hex')
}

async function range(client: PortClient): Promise<Finding[]> {
  const [first, last, size] = [7_000_001, 7_000_100, 10_000_000]
  const url = `${client.url}/bytes?size=${size}`
  const { stdout } = await run('--range', `${first}-${last}`, '--write-out', '%{http_code}', url)
  const wanted = Buffer.from(Array.from({ length: last - first + 1 }, (_, index) => (first + index) % 256))
  const head = await client.ask(`/bytes?size=${size}`, { method: 'HEAD' })
  return [
    exactly('status', stdout.slice(-3), '206'),
    exactly(
      'the 100 bytes asked for',
      stdout.slice(0, -3) === wanted.toString('latin1') ? 'the same' : 'others',
      'the same',
    ),
    exactly('HEAD: length, without a body', `${head.headers['content-length']}, ${head.body.length}`, `${size}, 0`),
  ]
}

async function serverSentEvents(client: PortClient): Promise<Finding[]> {
  const child = spawn('curl', [...common, '--no-buffer', `${client.url}/events?count=${events}`])
  const arrived: number[] = []
  for await (const line of createInterface({ input: child.stdout }))
    if (line.startsWith('data:')) arrived.push(performance.now())
  const gaps = arrived.slice(1).map((at, index) => at - (arrived[index] as number))
  const together = gaps.filter((gap) => gap < 20).length
  return [
    exactly('events', arrived.length, events),
    atMost('events that came together with the one before', together, 3, ''),
    atMost('longest gap, sent every 100 ms', Math.max(...gaps), 1000, 'ms'),
  ]
}

async function run(...args: string[]): Promise<{ stdout: string }> {
  return await promisify(execFile)('curl', [...common, ...args], { encoding: 'latin1', maxBuffer: 1 << 22 })
}
