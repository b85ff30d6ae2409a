/** `portico audit ID`, `portico audit verify FILE` and `portico audit key`: what was done to a sandbox and in it, and whether the log of it is whole. */

import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { addAbortSignal } from 'node:stream'
import type { AuditVerdict } from '@portico/sdk'
import type { Command } from 'commander'
import { CommandError } from '../command-error.ts'
import { wrong } from '../exit-codes.ts'
import { format } from '../output/failure.ts'
import { printable } from '../output/table.ts'
import type { Session } from '../session.ts'

interface VerifyOptions {
  readonly keyFile?: string
  readonly json?: boolean
}

export function define(command: Command, session: Session): void {
  const audit = command.helpCommand(false)
  audit
    .command('show <id>', { isDefault: true })
    .usage('[options] ID')
    .description('print what was done to a sandbox and in it')
    .option('--json', 'print lines of JSON, as `verify` takes them')
    .action(async (id: string, { json }: { json?: boolean }) => await show(session, id, json === true))
  audit
    .command('verify <file>')
    .usage('[options] FILE|-')
    .description('check that a log is whole; ends with 1 where it is not')
    .option('--key-file <file>', 'holds what `audit key` prints; else the platform is asked')
    .option('--json', 'print one line of JSON')
    .action(async (file: string, options: VerifyOptions) => await check(session, file, options))
  audit
    .command('key')
    .usage('')
    .description('print the key that the logs of the account are checked with')
    .action(async () => {
      await using portico = await session.connect()
      await session.terminal.print(`${await portico.auditKey({ signal: session.signal })}\n`)
    })
}

async function show(session: Session, id: string, json: boolean): Promise<void> {
  await using portico = await session.connect()
  const { signal } = session
  if (json) {
    for await (const line of portico.auditLines(id, { signal })) await session.terminal.print(`${line}\n`)
    return
  }
  for await (const { seq, at, event, data } of portico.audit(id, { signal })) {
    const line = [String(seq), at.toISOString(), event, JSON.stringify(data)].join('  ')
    await session.terminal.print(`${printable(line)}\n`)
  }
}

async function check(session: Session, file: string, { keyFile, json }: VerifyOptions): Promise<void> {
  const key = keyFile === undefined ? await platformKey(session) : (await textOf(keyFile)).trim()
  const verdict = await verdictOn(file, key, session.signal)
  if (!verdict.ok) session.exitCode = wrong
  if (json) return await session.terminal.printJson(verdict)
  if (verdict.ok) {
    const last = verdict.last === null ? '' : `, the last ${verdict.last}`
    return await session.terminal.print(`ok: ${verdict.entries} entries${last}\n`)
  }
  await session.terminal.complain(format(`line ${verdict.line} of ${file} is wrong: ${verdict.why}`))
}

async function verdictOn(file: string, key: string, signal: AbortSignal): Promise<AuditVerdict> {
  const { verifyAudit } = await import('@portico/sdk')
  const source = addAbortSignal(signal, file === '-' ? process.stdin : createReadStream(file))
  // Readline hands no error of its input on.
  const broken = new Promise<never>((_resolve, reject) => source.once('error', reject))
  const lines = createInterface({ input: source, crlfDelay: Number.POSITIVE_INFINITY })
  try {
    return await Promise.race([verifyAudit(lines, key), broken])
  } catch (error) {
    signal.throwIfAborted()
    throw isSystemError(error) ? unreadable(file, error) : error
  } finally {
    lines.close()
    source.destroy()
  }
}

async function platformKey(session: Session): Promise<string> {
  await using portico = await session.connect()
  return await portico.auditKey({ signal: session.signal })
}

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw isSystemError(error) ? unreadable(file, error) : error
  }
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error
}

function unreadable(file: string, { code, message }: NodeJS.ErrnoException): CommandError {
  const why = code === 'ENOENT' ? 'no such file' : (code ?? message)
  return new CommandError(`cannot read ${file}: ${why}`)
}
