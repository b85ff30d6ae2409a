/** `portico url ID PORT`: where a server in a sandbox is reached, as one line. */

import type { Command } from 'commander'
import { positiveDuration } from '../args/duration.ts'
import { port } from '../args/port.ts'
import type { Session } from '../session.ts'
import { findSandbox } from './find-sandbox.ts'

interface Options {
  readonly path?: string
  readonly proxy?: boolean
  readonly link?: number
  readonly json?: boolean
}

export function define(command: Command, session: Session): void {
  command
    .argument('<port>', '', port)
    .option('--path <path>', 'a path of the server')
    .option('--proxy', 'the one that takes an API key')
    .option('--link <duration>', 'a link that opens a port of --access signed for so long', positiveDuration)
    .option('--json', 'print one line of JSON')
    .action(async (id: string, number: number, { path, proxy, link, json }: Options) => {
      await using portico = await session.connect()
      const sandbox = await findSandbox(portico, id, session.signal)
      if (link !== undefined) {
        const rooted = path === undefined || path.startsWith('/') ? path : `/${path}`
        const made = await sandbox.ports.link(number, {
          expiresInSec: Math.ceil(link),
          path: rooted,
          signal: session.signal,
        })
        return json ? await session.terminal.printJson(made) : await session.terminal.print(`${made.url}\n`)
      }
      const url = proxy ? sandbox.proxyUrl(number, path) : sandbox.url(number, path)
      if (json) await session.terminal.printJson({ url })
      else await session.terminal.print(`${url}\n`)
    })
}
