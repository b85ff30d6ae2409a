/**
 * The server that every way of the port rows leads to, a process of its own: the same few bytes for whatever is asked, and 100 MB for `/100MB`. It reads
 * no more of a request than its first line and its end, so that what is measured is the way. Prints its port once it listens.
 */

import { type AddressInfo, createServer, type Socket } from 'node:net'

const few = Buffer.from('HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nok\n')
const size = 100_000_000
const head = `HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: ${size}\r\n\r\n`
const piece = Buffer.alloc(1_000_000, 'portico ')
const end = '\r\n\r\n'

const server = createServer((socket) => {
  socket.setNoDelay(true)
  socket.on('error', () => socket.destroy())
  let text = ''
  socket.on('data', (bytes: Buffer) => {
    text += bytes.toString('latin1')
    for (let at = text.indexOf(end); at >= 0; at = text.indexOf(end)) {
      if (text.startsWith('GET /100MB ')) sendMany(socket)
      else socket.write(few)
      text = text.slice(at + end.length)
    }
  })
})
server.listen(0, '127.0.0.1', () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`))

function sendMany(socket: Socket): void {
  socket.write(head)
  let left = size / piece.length
  const send = () => {
    while (left-- > 0) if (!socket.write(piece)) return void socket.once('drain', send)
  }
  send()
}
