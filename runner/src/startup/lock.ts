/**
 * One runner per state folder. The lock is a name in the kernel's abstract socket space, held by listening on it: it is gone with its process, however
 * that ends, and leaves no file.
 */

import { createServer } from 'node:net'
import { AppError } from '@portico/shared/errors'

/** Takes the lock of a state folder; the answer gives it back. */
export function takeLock(instance: string): Promise<() => Promise<void>> {
  const server = createServer((socket) => socket.destroy())
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const why = cause.code === 'EADDRINUSE' ? 'another runner uses this state folder' : 'its lock cannot be taken'
      reject(new AppError('conflict', `cannot start the runner: ${why}`, { cause }))
    })
    server.listen(`\0${instance}`, () => {
      server.unref()
      resolve(() => new Promise((closed) => server.close(() => closed())))
    })
  })
}
