// The application of the image `containers`: tells where it runs.

const { createServer } = require('node:http')
const { hostname } = require('node:os')

createServer((request, response) => {
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify({ path: request.url, hostname: hostname(), pid: process.pid, port: process.env.PORT }))
}).listen(Number(process.env.PORT ?? 3000), '127.0.0.1')
