/** `portico service list|status|start|stop|logs|exec|rm ID …`: long-running processes that a sandbox keeps. `service-set.ts` defines them. */

import type { ServiceInfo } from '@portico/sdk'
import type { Command } from 'commander'
import { positiveDuration } from '../args/duration.ts'
import { offset } from '../args/offset.ts'
import { timedOut } from '../exit-codes.ts'
import { printOutput } from '../follow-process.ts'
import { fieldText } from '../output/plain.ts'
import { endedLate } from '../output/result.ts'
import { table } from '../output/table.ts'
import { age } from '../output/time.ts'
import type { Session } from '../session.ts'
import { each } from './each.ts'
import { findSandbox } from './find-sandbox.ts'
import { addServiceSet } from './service-set.ts'

interface LogOptions {
  readonly follow?: boolean
  readonly from: number
  readonly json?: boolean
}

interface ExecOptions {
  readonly timeout: number
  readonly json?: boolean
}

const heading = ['NAME', 'STATUS', 'PID', 'EXIT', 'RESTARTS', 'STARTED', 'COMMAND']

export function define(command: Command, session: Session): void {
  const service = command.helpCommand(false)
  addServiceSet(service, session)
  addMoves(service, session)
  addLooks(service, session)
  addLogs(service, session)
  addExec(service, session)
}

function addMoves(service: Command, session: Session): void {
  const moves = [
    ['start', 'start services, and what they need, and wait until they are ready', 'starting'],
    ['stop', 'stop services', 'stopping'],
    ['rm', 'stop services and forget them', 'deleting'],
  ] as const
  for (const [verb, description, doing] of moves)
    service
      .command(`${verb} <id> <name...>`)
      .usage('[options] ID NAME…')
      .description(description)
      .option('--json', 'print one line of JSON')
      .action(async (id: string, names: string[], { json }: { json?: boolean }) => {
        await using portico = await session.connect()
        const { services } = await findSandbox(portico, id, session.signal)
        const { signal } = session
        await each(session, names, { doing, json }, async (name) => {
          if (verb !== 'rm') return { id: name, ...(await services[verb](name, { signal })) }
          await services.delete(name, { signal })
          return { id: name }
        })
      })
}

function addLooks(service: Command, session: Session): void {
  service
    .command('status <id> <name>')
    .usage('[options] ID NAME')
    .description('print all that is known of a service')
    .option('--json', 'print one line of JSON')
    .action(async (id: string, name: string, { json }: { json?: boolean }) => {
      await using portico = await session.connect()
      const { services } = await findSandbox(portico, id, session.signal)
      const found = await services.get(name, { signal: session.signal })
      if (json) await session.terminal.printJson(found)
      else await session.terminal.print(table(['FIELD', 'VALUE'], fields(found)))
    })
  service
    .command('list <id>')
    .alias('ls')
    .usage('[options] ID')
    .description('list the services of a sandbox')
    .option('-q, --quiet', 'print names alone')
    .option('--json', 'print one line of JSON')
    .action(async (id: string, { json, quiet }: { json?: boolean; quiet?: boolean }) => {
      await using portico = await session.connect()
      const { services } = await findSandbox(portico, id, session.signal)
      const found = await services.list({ signal: session.signal })
      if (json) await session.terminal.printJson(found)
      else if (quiet) await session.terminal.print(found.map(({ name }) => `${name}\n`).join(''))
      else await session.terminal.print(table(heading, found.map(row)))
    })
}

function addLogs(service: Command, session: Session): void {
  service
    .command('logs <id> <name>')
    .usage('[options] ID NAME')
    .description('print what a service has printed')
    .option('-f, --follow', 'and what it prints, until Ctrl-C')
    .option('--from <offset>', 'from this byte on', offset, 0)
    .option('--json', 'print a line of JSON for each piece, its bytes in base64')
    .action(async (id: string, name: string, { follow, from, json }: LogOptions) => {
      await using portico = await session.connect()
      const { services } = await findSandbox(portico, id, session.signal)
      const output = services.logs(name, { follow, from, signal: session.signal })
      if (!json) return await printOutput(session, output)
      for await (const item of output)
        await session.terminal.printJson(
          item.type === 'gap' ? item : { ...item, bytes: Buffer.from(item.bytes).toString('base64') },
        )
    })
}

function addExec(service: Command, session: Session): void {
  service
    .command('exec <id> <name> <cmd...>')
    .usage('[options] ID NAME -- CMD…')
    .description('run a command in a container service')
    .option('--timeout <duration>', 'end the command after so long', positiveDuration, 60)
    .option('--json', 'print one line of JSON')
    .action(async (id: string, name: string, cmd: string[], { timeout, json }: ExecOptions) => {
      await using portico = await session.connect()
      const { services } = await findSandbox(portico, id, session.signal)
      const result = await services.exec(name, cmd, { timeoutSec: timeout, signal: session.signal })
      session.exitCode = result.timedOut ? timedOut : result.exitCode
      if (json) return await session.terminal.printJson(result)
      await session.terminal.print(result.stdout)
      await session.terminal.complain(result.stderr)
      if (result.timedOut) await session.terminal.complain(endedLate(timeout))
    })
}

function row({ name, status, pid, exitCode, restarts, startedAt, cmd, args }: ServiceInfo): string[] {
  const started = startedAt === undefined ? '-' : `${age(startedAt)} ago`
  const command = [cmd, ...args].join(' ')
  return [name, status, text(pid), text(exitCode), String(restarts), started, command]
}

/** All that is told, each as its line. */
function fields(service: ServiceInfo): string[][] {
  const told = Object.entries(service).filter(([, value]) => value !== undefined && value !== '')
  return told.map(([name, value]) => [name, fieldText(value)])
}

function text(value: number | undefined): string {
  return value === undefined ? '-' : String(value)
}
