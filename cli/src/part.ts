/**
 * Another part of the checkout as a child of ours: its output is ours, its end is ours. It runs in a session of its own, so that a terminal's Ctrl-C
 * comes to it through us, once; and it gets SIGTERM if we die.
 */

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { CommandError } from './command-error.ts'
import { endedBy, failed } from './exit-codes.ts'
import type { Interrupt } from './interrupt.ts'

const setpriv = '/usr/bin/setpriv'

/** Runs a program to its end and resolves with its exit code. From then on signals are the child's. */
export function runPart(interrupt: Interrupt, what: string, command: string, args: readonly string[]): Promise<number> {
  const dying = existsSync(setpriv) ? [setpriv, '--pdeathsig', 'TERM'] : []
  const [file = command, ...rest] = [...dying, command, ...args]
  return new Promise((resolve, reject) => {
    const child = spawn(file, rest, { stdio: 'inherit', detached: true })
    interrupt.divert((name) => child.kill(name))
    child.once('error', (error) => reject(new CommandError(`cannot start ${what}: ${error.message}`)))
    child.once('exit', (code, signal) => resolve(code ?? (signal === null ? failed : endedBy(signal))))
  })
}

/** Arguments for our Node to run a TypeScript file of the checkout. */
export function sourceArgs(what: string, file: string, args: readonly string[]): readonly string[] {
  if (!existsSync(file)) throw new CommandError(`cannot start ${what}: ${file} is not there`)
  return ['--conditions=portico-source', file, ...args]
}
