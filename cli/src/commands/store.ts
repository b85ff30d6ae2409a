/** `portico store set|get|list|rm ID …`: values by key in a sandbox's record. Text is text; with --json it is what JSON can say. */

import type { JsonValue } from '@portico/sdk'
import type { Command } from 'commander'
import { positiveDuration } from '../args/duration.ts'
import { readInput } from '../args/input.ts'
import { CommandError } from '../command-error.ts'
import { printable } from '../output/table.ts'
import type { Session } from '../session.ts'
import { each } from './each.ts'
import { findSandbox } from './find-sandbox.ts'

interface SetOptions {
  readonly ttl?: number
  readonly json?: boolean
}

interface ListOptions {
  readonly prefix?: string
  readonly json?: boolean
}

/** As many keys as are asked for at a time. */
const pageSize = 1000

export function define(command: Command, session: Session): void {
  const store = command.helpCommand(false)
  addSet(store, session)
  addGet(store, session)
  addList(store, session)
  addRemove(store, session)
}

function addSet(store: Command, session: Session): void {
  store
    .command('set <id> <key> <value>')
    .usage('[options] ID KEY VALUE')
    .description('keep a value under a key; `-` reads it from standard input')
    .option('--ttl <duration>', 'for so long, such as 1h', positiveDuration)
    .option('--json', 'VALUE is JSON, and not text')
    .action(async (id: string, key: string, given: string, { ttl, json }: SetOptions) => {
      const text = given === '-' ? await readInput(process.stdin, session.signal) : given
      const value = json ? parsed(text) : text
      await using portico = await session.connect()
      const sandbox = await findSandbox(portico, id, session.signal)
      await sandbox.store.set(key, value, { ttl, signal: session.signal })
    })
}

function addGet(store: Command, session: Session): void {
  store
    .command('get <id> <key>')
    .usage('[options] ID KEY')
    .description('print the value of a key: text as it is, else as JSON')
    .option('--json', 'print value and end as one line of JSON')
    .action(async (id: string, key: string, { json }: { json?: boolean }) => {
      await using portico = await session.connect()
      const sandbox = await findSandbox(portico, id, session.signal)
      const entry = await sandbox.store.get(key, { signal: session.signal })
      if (entry === null) throw missing('get', key)
      if (json) await session.terminal.printJson(entry)
      else if (typeof entry.value === 'string') await session.terminal.print(`${entry.value}\n`)
      else await session.terminal.printJson(entry.value)
    })
}

function addList(store: Command, session: Session): void {
  store
    .command('list <id>')
    .alias('ls')
    .usage('[options] ID')
    .description('list the keys')
    .option('--prefix <text>', 'only those that begin so')
    .option('--json', 'print one line of JSON')
    .action(async (id: string, { prefix, json }: ListOptions) => {
      await using portico = await session.connect()
      const sandbox = await findSandbox(portico, id, session.signal)
      const keys: string[] = []
      for (let more = true; more; ) {
        const options = { prefix, limit: pageSize, after: keys.at(-1), signal: session.signal }
        const page = await sandbox.store.list(options)
        keys.push(...page.keys)
        more = page.truncated && page.keys.length > 0
      }
      if (json) await session.terminal.printJson(keys)
      else await session.terminal.print(keys.map((key) => `${printable(key)}\n`).join(''))
    })
}

function addRemove(store: Command, session: Session): void {
  store
    .command('rm <id> <key...>')
    .usage('[options] ID KEY…')
    .description('delete keys')
    .option('--json', 'print one line of JSON')
    .action(async (id: string, keys: string[], { json }: { json?: boolean }) => {
      await using portico = await session.connect()
      const sandbox = await findSandbox(portico, id, session.signal)
      await each(session, keys, { doing: 'deleting', json }, async (key) => {
        if (!(await sandbox.store.delete(key, { signal: session.signal }))) throw missing('delete', key)
        return { id: key }
      })
    })
}

function parsed(text: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue
  } catch {
    throw new CommandError('cannot keep the value: it is not JSON', 'Without --json it is kept as text.')
  }
}

function missing(doing: string, key: string): CommandError {
  return new CommandError(`cannot ${doing} ${key}: there is no such key`, '`portico store list` shows those there are.')
}
