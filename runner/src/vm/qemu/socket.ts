/**
 * Connects to a unix socket on which QEMU listens. The socket is opened by a descriptor that refuses links and is connected through
 * `/proc/self/fd`: so the name's length does not matter, and a machine that owns the folder cannot lead the runner to another socket.
 */

import { close, constants, fstat, open } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { promisify } from 'node:util'
import { sleep } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'

const openFile = promisify(open)
const closeFile = promisify(close)
const statFile = promisify(fstat)

/** `O_PATH` of Linux, which Node does not name: a descriptor for the name alone. */
const pathOnly = 0o10000000

const firstStepMs = 1
const maxStepMs = 20

/** Connects as soon as somebody listens there. The limit is the signal's. */
export async function connectWhenReady(path: string, signal: AbortSignal): Promise<Socket> {
  for (let step = firstStepMs; ; step = Math.min(maxStepMs, step * 2)) {
    signal.throwIfAborted()
    try {
      return await connectSocket(path)
    } catch (error) {
      if (!notYet(error)) throw error
      await sleep(step, signal)
    }
  }
}

/** Connects now. */
export async function connectSocket(path: string): Promise<Socket> {
  const descriptor = await openFile(path, pathOnly | constants.O_NOFOLLOW)
  try {
    if (!(await statFile(descriptor)).isSocket())
      throw new AppError('internal', 'cannot reach the virtual machine: something took the place of its socket')
    return await new Promise((resolve, reject) => {
      const socket = connect(`/proc/self/fd/${descriptor}`)
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        // Whoever has it sees its end; nobody may have it yet when its machine dies.
        socket.on('error', () => undefined)
        resolve(socket)
      })
    })
  } finally {
    await closeFile(descriptor)
  }
}

/** Not made yet, or made and not listened on yet. */
function notYet(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === 'ENOENT' || code === 'ECONNREFUSED'
}
