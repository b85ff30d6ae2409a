/**
 * What somebody at a terminal waits for: a key's echo, and a command of a shell session next to the same command as an exec, which starts a shell of its own
 * each time. Over the whole path, in one sandbox; shell and exec take turns.
 */

import { once } from 'node:events'
import type { Sandbox } from '@portico/sdk'
import { WebSocket } from 'ws'
import type { Measurement } from './measurement.ts'
import { quantile, row } from './stats.ts'
import { withConnection } from './whole-path.ts'

const samples = 200
const warmUp = 20
const limitMs = 10_000
const command = 'true'

export const interactive: Measurement = {
  rows: ['terminal.echo', 'shell.command', 'exec.command'],
  async run({ say }) {
    return await withConnection(async ({ sandbox, url, apiKey }) => {
      const open = (path: string) => openSocket(`${url.replace(/^http/, 'ws')}/v1/runs/${sandbox.id}/${path}`, apiKey)
      say('terminal.echo')
      const echo = await echoes(await open('terminal?command=cat&linger=0'))
      say('shell.command')
      const { shell, exec } = await commands(await open('shell?linger=0'), sandbox)
      return [
        { ...row('terminal.echo', 'ms', echo), note: `p99 ${quantile(echo, 0.99).toPrecision(3)} ms` },
        row('shell.command', 'ms', shell, 'exec.command', exec),
        row('exec.command', 'ms', exec),
      ]
    })
  },
}

async function openSocket(url: string, apiKey: string): Promise<WebSocket> {
  const socket = new WebSocket(url, { headers: { authorization: `Bearer ${apiKey}` }, perMessageDeflate: false })
  await once(socket, 'open', { signal: AbortSignal.timeout(limitMs) })
  return socket
}

/** From each key to its echo, which the guest's terminal makes. A line is ended now and then, as a terminal holds only so much of one. */
async function echoes(socket: WebSocket): Promise<number[]> {
  const found: number[] = []
  for (let n = 0; n < warmUp + samples; n++) {
    const key = String.fromCharCode(97 + (n % 26))
    const start = performance.now()
    const shown = until(socket, (bytes, isBinary) => isBinary && bytes.includes(key))
    socket.send(Buffer.from(key))
    await shown
    if (n >= warmUp) found.push(performance.now() - start)
    if (n % 26 === 25) {
      const again = until(socket, (bytes, isBinary) => isBinary && bytes.includes('z'))
      socket.send(Buffer.from('\n'))
      await again
    }
  }
  socket.close()
  return found
}

async function commands(socket: WebSocket, sandbox: Sandbox): Promise<{ shell: number[]; exec: number[] }> {
  const [shell, exec]: [number[], number[]] = [[], []]
  for (let n = 0; n < warmUp + samples; n++) {
    const start = performance.now()
    const ended = until(socket, (bytes, isBinary) => !isBinary && isEnd(bytes, String(n)))
    socket.send(JSON.stringify({ type: 'run', id: String(n), command }))
    await ended
    const middle = performance.now()
    await sandbox.exec(command)
    if (n < warmUp) continue
    shell.push(middle - start)
    exec.push(performance.now() - middle)
  }
  socket.close()
  return { shell, exec }
}

function isEnd(bytes: Buffer, id: string): boolean {
  const frame = JSON.parse(bytes.toString()) as { type: string; id?: string; error?: string }
  if (frame.type === 'error') throw new Error(`cannot measure: the shell said ${frame.error}`)
  return frame.type === 'exit' && frame.id === id
}

/** Resolves with the first message that is the one; rejects when the socket closes before or that takes too long. */
function until(socket: WebSocket, isIt: (bytes: Buffer, isBinary: boolean) => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => end(() => reject(new Error('cannot measure: no answer in time'))), limitMs)
    const closed = (code: number) => end(() => reject(new Error(`cannot measure: the socket closed with ${code}`)))
    const check = (bytes: Buffer, isBinary: boolean) => {
      try {
        if (isIt(bytes, isBinary)) end(resolve)
      } catch (error) {
        end(() => reject(error))
      }
    }
    const end = (settle: () => void) => {
      clearTimeout(timer)
      socket.off('message', check).off('close', closed)
      settle()
    }
    socket.on('message', check).on('close', closed)
  })
}
