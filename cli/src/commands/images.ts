/** `portico images [list]`, `pull`, `build` and `rm`: what can be run, and the account's own images. Making one prints the name that `portico run` takes. */

import type { ImageInfo } from '@portico/sdk'
import type { Command } from 'commander'
import { size } from '../output/size.ts'
import { table } from '../output/table.ts'
import { age } from '../output/time.ts'
import type { Session } from '../session.ts'
import { each } from './each.ts'
import { addBuild, addPull } from './images-make.ts'

interface ListOptions {
  readonly own?: boolean
  readonly json?: boolean
}

const heading = ['IMAGE', 'STATUS', 'KIND', 'SIZE', 'AGE', 'ID']

export function define(command: Command, session: Session): void {
  const images = command.helpCommand(false)
  images
    .command('list', { isDefault: true })
    .usage('[options]')
    .alias('ls')
    .description('list the names that can be run')
    .option('--own', 'the account’s own images, with those that are not ready')
    .option('--json', 'print one line of JSON')
    .action(async ({ own, json }: ListOptions) => {
      await using portico = await session.connect()
      const { signal } = session
      if (own) {
        const found = await portico.images.list({ signal })
        if (json) await session.terminal.printJson(found)
        else await session.terminal.print(table(heading, found.map(row)))
        return
      }
      const [names, made] = await Promise.all([portico.images({ signal }), portico.images.list({ signal })])
      const ready = made.filter(({ status }) => status === 'ready').map(({ image }) => image)
      const all = [...new Set([...names, ...ready])]
      if (json) await session.terminal.printJson(all)
      else await session.terminal.print(all.map((name) => `${name}\n`).join(''))
    })
  addPull(images, session)
  addBuild(images, session)
  images
    .command('rm <image...>')
    .usage('[options] IMAGE…')
    .description('delete own images, by name or id; ends one that is under way')
    .option('--json', 'print one line of JSON')
    .action(async (names: string[], { json }: { json?: boolean }) => {
      await using portico = await session.connect()
      await each(session, names, { doing: 'deleting', json }, async (id) => {
        await portico.images.delete(id, { signal: session.signal })
        return { id }
      })
    })
}

function row({ image, status, kind, sizeBytes, createdAt, id }: ImageInfo): string[] {
  return [image, status, kind, status === 'ready' ? size(sizeBytes) : '-', age(createdAt), id]
}
