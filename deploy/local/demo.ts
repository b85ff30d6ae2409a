/** `npm run demo`: the main job once, on a platform of its own that is gone afterwards. */

import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Portico } from '@portico/sdk'
import { paths } from '../checkout.ts'
import { openPlatform } from './platform.ts'
import { stopAsked } from './signals.ts'

const start = performance.now()
const log: string[] = []
const stopped = stopAsked().then((name) => {
  throw new Error(`stopped by ${name}`)
})
stopped.catch(() => undefined)

async function main(): Promise<void> {
  await mkdir(paths.temporary, { recursive: true })
  const stateDir = await mkdtemp(join(paths.temporary, 'demo-'))
  try {
    await using platform = await disposablePlatform(stateDir)
    const portico = new Portico({ baseUrl: platform.url, apiKey: platform.apiKey })
    const sandbox = await step(
      'create',
      () => portico.create({ image: 'python' }),
      ({ id, createMs }) => `${id}, booted in ${createMs} ms`,
    )
    await step(
      'exec',
      () => sandbox.exec(['python3', '-c', 'print("hi")']),
      ({ stdout, exitCode }) => `python3 -c 'print("hi")' → ${JSON.stringify(stdout)}, exit ${exitCode}`,
    )
    await step(
      'write',
      () => sandbox.files.write('/app/note.txt', 'kept\n'),
      () => '/app/note.txt',
    )
    await step(
      'read',
      () => sandbox.files.readText('/app/note.txt'),
      (text) => JSON.stringify(text),
    )
    await step(
      'destroy',
      () => sandbox.destroy(),
      ({ uptimeMs, cpuMs, costCents }) => `up ${uptimeMs} ms, cpu ${cpuMs} ms, ${costCents.toFixed(6)} ¢`,
    )
  } finally {
    await rm(stateDir, { recursive: true, force: true })
  }
  print('done', performance.now() - start, 'nothing is left running')
}

async function disposablePlatform(stateDir: string) {
  const platform = await openPlatform({
    stateDir,
    onStep: (name, ms) => print(name, ms, 'ready'),
    log: (text) => log.push(text),
  })
  return Object.assign(platform, {
    [Symbol.asyncDispose]: async () => {
      const begin = performance.now()
      await platform.close()
      print('stop', performance.now() - begin, 'runner drained, front door closed')
    },
  })
}

async function step<Value>(name: string, run: () => Promise<Value>, say: (value: Value) => string): Promise<Value> {
  const begin = performance.now()
  const value = await Promise.race([run(), stopped])
  print(name, performance.now() - begin, say(value))
  return value
}

function print(name: string, ms: number, text: string): void {
  process.stdout.write(`${name.padEnd(12)} ${(ms / 1000).toFixed(3).padStart(8)} s   ${text}\n`)
}

await main().catch((error: unknown) => {
  process.stderr.write(
    `${log.join('').slice(-4000)}\nportico: the demo failed: ${error instanceof Error ? error.message : String(error)}\n`,
  )
  process.exitCode = 1
})
