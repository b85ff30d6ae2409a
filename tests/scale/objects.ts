/**
 * `npm run scale -- objects`: what one call to an object costs here, in the real runtime with storage on disk, and how much room its rows
 * take. Worker, objects and storage share one thread of workerd, so these are the costs of a whole call, with the way to the object.
 */

import { mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { paths, root } from '@portico/deploy/checkout'
import { openFrontDoor } from '@portico/deploy/front-door'

const indexed = 100_000
const promised = 2000
const hosts = 100
const atOnce = 16

/** Runs all measurements and prints them. */
export async function measureObjects(): Promise<void> {
  await mkdir(paths.temporary, { recursive: true })
  const directory = await mkdtemp(join(paths.temporary, 'scale-'))
  const log: string[] = []
  const door = await openFrontDoor({
    directory,
    port: 0,
    worker: join(root, 'tests', 'scale', 'objects-worker.ts'),
    variables: { PORTICO_SECRET: 's'.repeat(32), ADMIN_KEY: 'a'.repeat(32), REGIONS_SERVED: 'us' },
    networks: [],
    log: (text) => log.push(text),
  })
  try {
    process.stdout.write(`${'call'.padEnd(58)}  calls    µs each   calls/s\n`)
    await measurements(async (operation, calls, from) => {
      const microseconds = await call(door.url, operation, calls, from)
      return (what) => process.stdout.write(line(what, calls, microseconds))
    })
    for (const [name, bytes] of await sizes(join(directory, 'objects'))) {
      process.stdout.write(`on disk: ${name} ${(bytes / 1e6).toFixed(1)} MB\n`)
    }
  } catch (error) {
    process.stderr.write(log.join(''))
    throw error
  } finally {
    await door.child.stop(5000)
    await rm(directory, { recursive: true, force: true })
  }
}

/** Measures, and then shows it under a name. */
type Measure = (operation: string, calls: number, from?: number) => Promise<(what: string) => void>

async function measurements(measure: Measure): Promise<void> {
  await measure('enrol', hosts)
  await measure('report', hosts)
  await measure('open', 1)
  await measure('limit', 1)
  ;(await measure('place', promised))(`RegionObject.place, ${hosts} runners`)
  ;(await measure('report', 1000))('RegionObject.report of a runner with 1,000 sandboxes')
  ;(await measure('report.short', 2000))('RegionObject.report that names 10 sandboxes')
  ;(await measure('release', promised))('RegionObject.release')
  ;(await measure('key', 3000))('AccountObject.key, unknown: the way there and back')
  ;(await measure('admit', 1000))('AccountObject.admit, nothing indexed')
  ;(await measure('dismiss', 1000))('AccountObject.dismiss')
  for (const until of [1000, 10_000, indexed]) {
    const from = until === 1000 ? 0 : until / 10
    ;(await measure('index', until - from, from))(`AccountObject.index, up to ${until} sandboxes`)
    ;(await measure('admit', 200, 20_000_000 + until))(`AccountObject.admit, ${until} running`)
    ;(await measure('list.100', 100))(`AccountObject.list, a page of 100 of ${until}`)
  }
}

function line(what: string, calls: number, microseconds: number): string {
  const figures = [calls, Math.round(microseconds), Math.round(1e6 / microseconds)]
  return `${what.padEnd(58)} ${figures.map((figure) => String(figure).padStart(9)).join('')}\n`
}

/** Microseconds for each call. */
async function call(url: string, operation: string, calls: number, from = 0): Promise<number> {
  const response = await fetch(`${url}/${operation}?calls=${calls}&from=${from}&atOnce=${atOnce}`, {
    signal: AbortSignal.timeout(300_000),
  })
  if (!response.ok) throw new Error(`cannot measure ${operation}: ${response.status} ${await response.text()}`)
  const { ms } = (await response.json()) as { ms: number }
  return (ms * 1000) / calls
}

/** Bytes per class of object. */
async function sizes(directory: string): Promise<Map<string, number>> {
  const found = new Map<string, number>()
  for (const file of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!file.isFile()) continue
    const name = file.parentPath.split('/').at(-1) ?? ''
    const { size } = await stat(join(file.parentPath, file.name))
    found.set(name, (found.get(name) ?? 0) + size)
  }
  return found
}
