/** `portico checkpoint create|list|restore|rm ID …`: the files of a sandbox at moments of its life. */

import type { CheckpointInfo } from '@portico/sdk'
import type { Command } from 'commander'
import { failed } from '../exit-codes.ts'
import { format } from '../output/failure.ts'
import { size } from '../output/size.ts'
import { table } from '../output/table.ts'
import { age, elapsed } from '../output/time.ts'
import type { Session } from '../session.ts'
import { each } from './each.ts'
import { findSandbox } from './find-sandbox.ts'

interface CreateOptions {
  readonly name?: string
  readonly wait?: boolean
  readonly json?: boolean
}

interface ListOptions {
  readonly json?: boolean
  readonly quiet?: boolean
}

const heading = ['ID', 'NAME', 'SIZE', 'STATE', 'AGE']

export function define(command: Command, session: Session): void {
  const checkpoint = command.helpCommand(false)
  addCreate(checkpoint, session)
  addList(checkpoint, session)
  addRestore(checkpoint, session)
  addRemove(checkpoint, session)
}

function addCreate(checkpoint: Command, session: Session): void {
  checkpoint
    .command('create <id>')
    .usage('[options] ID')
    .description('keep the files as they are now and print the id of the checkpoint')
    .option('--name <name>', 'what people call it')
    .option('--wait', 'until it is on the disk for good')
    .option('--json', 'print its record as one line of JSON')
    .action(async (id: string, { name, wait, json }: CreateOptions) => {
      await using portico = await session.connect()
      const { checkpoints } = await findSandbox(portico, id, session.signal)
      await session.progress.begin(`making a checkpoint of ${id}`)
      const made = await checkpoints.create({ name, wait, signal: session.signal })
      await session.progress.done(
        `checkpoint made in ${elapsed(made.copyMs)}, writers stood still for ${made.pauseMs}ms`,
      )
      if (json) await session.terminal.printJson(made)
      else await session.terminal.print(`${made.id}\n`)
    })
}

function addList(checkpoint: Command, session: Session): void {
  checkpoint
    .command('list <id>')
    .alias('ls')
    .usage('[options] ID')
    .description('list the checkpoints of a sandbox, oldest first')
    .option('-q, --quiet', 'print ids alone')
    .option('--json', 'print one line of JSON')
    .action(async (id: string, { json, quiet }: ListOptions) => {
      await using portico = await session.connect()
      const { checkpoints } = await findSandbox(portico, id, session.signal)
      const found = await checkpoints.list({ signal: session.signal })
      if (json) await session.terminal.printJson(found)
      else if (quiet) await session.terminal.print(found.map((one) => `${one.id}\n`).join(''))
      else await session.terminal.print(table(heading, found.map(row)))
    })
}

function addRestore(checkpoint: Command, session: Session): void {
  checkpoint
    .command('restore <id> <checkpoint>')
    .usage('[options] ID CHECKPOINT')
    .description('put the files back in place; what runs in the sandbox ends, services start again')
    .option('--json', 'print what came of it as one line of JSON')
    .action(async (id: string, name: string, { json }: { json?: boolean }) => {
      await using portico = await session.connect()
      const { checkpoints } = await findSandbox(portico, id, session.signal)
      await session.progress.begin(`restoring ${name}`)
      const restored = await checkpoints.restore(name, { signal: session.signal })
      await session.progress.done(`restored in ${elapsed(restored.restoreMs)}`)
      if (json) await session.terminal.printJson(restored)
      else await session.terminal.print(`${restored.id}\n`)
      if (restored.failedServices.length === 0) return
      session.exitCode = failed
      const message = `cannot start again: ${restored.failedServices.join(', ')}`
      await session.terminal.complain(format(message, '`portico service logs` says why.'))
    })
}

function addRemove(checkpoint: Command, session: Session): void {
  checkpoint
    .command('rm <id> <checkpoint...>')
    .usage('[options] ID CHECKPOINT…')
    .description('delete checkpoints')
    .option('--json', 'print one line of JSON')
    .action(async (id: string, names: string[], { json }: { json?: boolean }) => {
      await using portico = await session.connect()
      const { checkpoints } = await findSandbox(portico, id, session.signal)
      await each(session, names, { doing: 'deleting', json }, async (name) => {
        await checkpoints.delete(name, { signal: session.signal })
        return { id: name }
      })
    })
}

function row({ id, name, sizeBytes, ready, createdAt }: CheckpointInfo): string[] {
  return [id, name === '' ? '-' : name, size(sizeBytes), ready ? 'ready' : 'being written', age(createdAt)]
}
