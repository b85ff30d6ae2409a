/** The floors: the bare Worker in a workerd of its own, and the peer of its object. */

import { copyFile, mkdir, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { Target } from './load.ts'
import { cpuSeconds, MeasuredProcess } from './process.ts'
import type { Scene } from './scene.ts'

const worker = join(import.meta.dirname, 'bare-worker.js')
const peer = join(import.meta.dirname, 'echo-peer.ts')

export interface Bare extends Scene {
  /** Answered by the Worker. */
  readonly hello: Target
  /** Answered by the object, which asks nobody. */
  readonly object: Target
  /** Its workerd. */
  readonly pid: number
}

/** Serves the bare Worker and connects its peer. */
export async function openBare(directory: string, body: string): Promise<Bare> {
  await mkdir(join(directory, 'objects'), { recursive: true })
  await copyFile(worker, join(directory, 'worker.js'))
  const config = join(directory, 'workerd.capnp')
  await writeFile(config, configOf(join(directory, 'objects')))
  const { default: workerd } = createRequire(import.meta.resolve('@portico/deploy/local'))('workerd') as {
    default: string
  }
  const command = [workerd, 'serve', config, '--control-fd=3', '--socket-addr=http=127.0.0.1:0']
  const door = await MeasuredProcess.start(command, {}, 3, (line) => (JSON.parse(line) as { port?: number }).port)
  try {
    const address = `127.0.0.1:${door.said}`
    const echo = await MeasuredProcess.start([process.execPath, peer, `ws://${address}/echo`], {}, 1, (line) =>
      line === 'connected' ? true : undefined,
    )
    const target = { url: `http://${address}`, paths: ['/echo'], post: { body, authorization: 'none' } }
    return {
      target,
      hello: { ...target, paths: ['/hello'] },
      object: { url: target.url, paths: ['/object'] },
      pid: door.process.pid,
      cpu: async () => ({ workerd: await cpuSeconds(door.process.pid), peer: await cpuSeconds(echo.process.pid) }),
      [Symbol.asyncDispose]: async () => {
        await echo.process[Symbol.asyncDispose]()
        await door.process[Symbol.asyncDispose]()
      },
    }
  } catch (error) {
    await door.process[Symbol.asyncDispose]()
    throw error
  }
}

function configOf(storage: string): string {
  return `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [(name = "bare", worker = .bare), (name = "objects", disk = (path = ${JSON.stringify(storage)}, writable = true))],
  sockets = [(name = "http", http = (), service = "bare")],
);

const bare :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = "2026-11-01",
  bindings = [(name = "ECHO", durableObjectNamespace = "Echo")],
  durableObjectNamespaces = [(className = "Echo", uniqueKey = "echo", enableSql = true)],
  durableObjectStorage = (localDisk = "objects"),
);
`
}
