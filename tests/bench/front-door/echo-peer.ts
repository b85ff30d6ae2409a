/** The peer of the bare object, a process of its own: sends back whatever comes on its WebSocket. Says `connected` once it is. */

import { WebSocket } from 'ws'

const socket = new WebSocket(process.argv[2] ?? '', { perMessageDeflate: false })
socket.on('open', () => process.stdout.write('connected\n'))
socket.on('message', (message) => socket.send(message))
socket.on('close', () => process.exit())
