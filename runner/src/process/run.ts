/**
 * Runs one program of the host to its end. It owns the child: whatever ends the wait (exit, time limit, the caller's signal) also ends the child
 * and its process group, and the first reason is the one that is told. Output is kept up to a limit.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import type { Readable } from 'node:stream'
import { AppError } from '@portico/shared/errors'

export interface RunOptions {
  readonly signal?: AbortSignal
  readonly limitMs: number
  /** Per stream; what is beyond is dropped. */
  readonly maxOutputBytes?: number
  readonly cwd?: string
  /** Each piece of standard output as it comes. */
  readonly onStdout?: (text: string) => void
}

/** How a program ended. */
export interface Finished {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

const defaultMaxOutput = 64 * 1024

/** Resolves however the program ended by itself; rejects if it cannot be started, is late or is cancelled. */
export async function run(command: string, args: readonly string[], options: RunOptions): Promise<Finished> {
  options.signal?.throwIfAborted()
  const child = spawn(command, args, {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  })
  const limit = options.maxOutputBytes ?? defaultMaxOutput
  const stdout = collect(child.stdout, limit)
  const { onStdout } = options
  if (onStdout) child.stdout.on('data', (chunk: Buffer) => onStdout(chunk.toString('utf8')))
  const stderr = collect(child.stderr, limit)
  const controller = new AbortController()
  const late = setTimeout(
    () =>
      controller.abort(
        new AppError('deadline', `cannot finish ${name(command)}: not done within ${options.limitMs} ms`),
      ),
    options.limitMs,
  )
  const signal = AbortSignal.any([controller.signal, ...(options.signal ? [options.signal] : [])])
  try {
    const { code, signal: by } = await ended(child, command, signal)
    return { code, signal: by, stdout: stdout(), stderr: stderr() }
  } finally {
    clearTimeout(late)
    controller.abort()
  }
}

/** Runs a program that must succeed; the error holds the last line it printed as its cause. */
export async function runChecked(command: string, args: readonly string[], options: RunOptions): Promise<string> {
  const { code, signal, stdout, stderr } = await run(command, args, options)
  if (code === 0) return stdout
  const how = signal ?? `code ${code}`
  throw new AppError('internal', `cannot finish ${name(command)}: it ended with ${how}`, { cause: stderr.trim() })
}

/** Kills a child's process group; whoever is still in it keeps its number from being used again. Does nothing if nobody is. */
export function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch {
    // Nobody is left in it.
  }
}

function ended(child: ChildProcess, command: string, signal: AbortSignal) {
  return new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve, reject) => {
    const onAbort = () => killGroup(child)
    signal.addEventListener('abort', onAbort, { once: true })
    child.once('error', (cause) => {
      signal.removeEventListener('abort', onAbort)
      reject(new AppError('internal', `cannot start ${name(command)}: ${reasonOf(cause)}`, { cause }))
    })
    child.once('close', (code, by) => {
      signal.removeEventListener('abort', onAbort)
      if (signal.aborted) reject(signal.reason)
      else resolve({ code, signal: by })
    })
  })
}

function reasonOf(cause: NodeJS.ErrnoException): string {
  return cause.code === 'ENOENT' ? 'it is not installed' : 'the host refused'
}

function collect(stream: Readable, limit: number): () => string {
  const chunks: Buffer[] = []
  let size = 0
  stream.on('data', (chunk: Buffer) => {
    const kept = chunk.subarray(0, Math.max(0, limit - size))
    size += kept.length
    if (kept.length > 0) chunks.push(kept)
  })
  return () => Buffer.concat(chunks).toString('utf8')
}

/** The bare name of a program: folders of the host do not belong into messages. */
function name(command: string): string {
  return command.slice(command.lastIndexOf('/') + 1)
}
