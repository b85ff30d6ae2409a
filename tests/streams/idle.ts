/** A WebSocket such as a notebook holds, on which nobody says anything for five minutes, and which then works. */

import { once } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import { startApp } from './app.ts'
import { exactly, type Proof, told } from './proof.ts'

const idleMs = 300_000

export const idle: Proof = {
  name: 'idle',
  async run({ test, say }) {
    await using sandbox = await test.portico.create({ image: 'python' })
    const client = await startApp(test.platform, sandbox)
    const socket = await client.socket('/chat')
    let closed = 'no'
    socket.on('close', (code: number) => {
      closed = `with ${code}`
    })
    say(`idle for ${idleMs / 60_000} minutes`)
    await wait(idleMs)
    const start = performance.now()
    const answer = once(socket, 'message', { signal: AbortSignal.timeout(10_000) })
    socket.send('still there?')
    const [message] = (await answer) as [Buffer]
    const ms = performance.now() - start
    socket.terminate()
    return [
      exactly('closed meanwhile', closed, 'no'),
      exactly('its echo then', String(message), 'still there?'),
      told('after', `${idleMs / 60_000} minutes, in ${ms.toFixed(1)} ms`),
    ]
  },
}
