/**
 * Our terminal as a wire to one in a sandbox: each key goes there as it is, Ctrl-C included. However we end, the terminal is left as it was found: at the end of the
 * block, on a signal, and when the process exits in any other way.
 */

import { CommandError } from './command-error.ts'
import type { Session } from './session.ts'

export interface RawMode extends Disposable {
  /** What is typed. */
  readonly input: NodeJS.ReadStream
}

/** Throws where there is no terminal to take over. */
export function assertTerminal(session: Session): void {
  if (!process.stdin.isTTY || !session.terminal.isTerminal)
    throw new CommandError('cannot use the terminal: there is none', 'Run it in a terminal, without | and <.')
}

/** Takes over the terminal. */
export function rawMode(session: Session): RawMode {
  assertTerminal(session)
  const { stdin } = process
  const restore = () => stdin.setRawMode(false)
  stdin.setRawMode(true)
  process.once('exit', restore)
  return {
    input: stdin,
    [Symbol.dispose]() {
      process.removeListener('exit', restore)
      restore()
      // Nothing of it holds the process any more.
      stdin.pause()
      stdin.unref()
    },
  }
}

/** Calls back whenever the terminal has changed its size; the answer stops that. */
export function onResize(session: Session, resized: (cols: number, rows: number) => void): Disposable {
  const look = () => {
    const { size } = session.terminal
    if (size !== undefined) resized(size.cols, size.rows)
  }
  process.stdout.on('resize', look)
  return { [Symbol.dispose]: () => void process.stdout.removeListener('resize', look) }
}
