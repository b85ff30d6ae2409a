/**
 * Moves pieces between a process's memory and buffers, on this thread and on those of Node's pool at the same time. Each piece is a call to the kernel
 * of its own, so small ones are done here, where that costs least, and the large ones are shared.
 */

import { read, readSync, write, writeSync } from 'node:fs'
import { AppError } from '@portico/shared/errors'

export interface Piece {
  readonly buffer: Uint8Array
  /** In the buffer. */
  readonly from: number
  readonly bytes: number
  /** In the process. */
  readonly address: number
}

export type Direction = 'read' | 'write'

const largeBytes = 64 * 1024
/** Small enough to be shared evenly. */
export const maxPieceBytes = 2 ** 20

/** Resolves when all pieces are moved. Rejects when none is under way any more. */
export async function transfer(descriptor: number, pieces: readonly Piece[], direction: Direction): Promise<void> {
  const large = pieces.filter(({ bytes }) => bytes >= largeBytes)
  const elsewhere = large.slice(0, Math.floor(large.length / 2))
  const here = [...pieces.filter(({ bytes }) => bytes < largeBytes), ...large.slice(elsewhere.length)]
  const moved = elsewhere.map((piece) => moveElsewhere(descriptor, piece, direction))
  try {
    for (const piece of here) moveHere(descriptor, piece, direction)
  } finally {
    await Promise.allSettled(moved)
  }
  await Promise.all(moved)
}

function moveHere(descriptor: number, { buffer, from, bytes, address }: Piece, direction: Direction): void {
  for (let done = 0; done < bytes; ) {
    const range = [from + done, bytes - done, address + done] as const
    const count = attempt(() =>
      direction === 'read' ? readSync(descriptor, buffer, ...range) : writeSync(descriptor, buffer, ...range),
    )
    if (count === 0) throw ended()
    done += count
  }
}

async function moveElsewhere(descriptor: number, piece: Piece, direction: Direction): Promise<void> {
  const { buffer, from, bytes, address } = piece
  for (let done = 0; done < bytes; ) {
    const count = await moveOnce(
      descriptor,
      { buffer, from: from + done, bytes: bytes - done, address: address + done },
      direction,
    )
    if (count === 0) throw ended()
    done += count
  }
}

function moveOnce(descriptor: number, { buffer, from, bytes, address }: Piece, direction: Direction): Promise<number> {
  return new Promise((resolve, reject) => {
    const settle = (error: unknown, count: number) => (error ? reject(ended(error)) : resolve(count))
    if (direction === 'read') read(descriptor, buffer, from, bytes, address, settle)
    else write(descriptor, buffer, from, bytes, address, settle)
  })
}

function attempt<Value>(act: () => Value): Value {
  try {
    return act()
  } catch (cause) {
    throw ended(cause)
  }
}

function ended(cause?: unknown): AppError {
  return new AppError('sandbox_failed', "cannot reach the virtual machine's memory: its process ended", { cause })
}
