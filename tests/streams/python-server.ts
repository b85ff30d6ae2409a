/** `python3 -m http.server`, bound to the guest's loopback alone. */

import { PortClient } from '../kit/port-client.ts'
import { exactly, type Proof } from './proof.ts'

export const pythonServer: Proof = {
  name: 'http.server',
  async run({ test }) {
    await using sandbox = await test.portico.create({ image: 'python' })
    await sandbox.files.write('/root/www/hello.txt', 'hello from the guest\n')
    await sandbox.exec(
      'setsid python3 -m http.server --bind 127.0.0.1 --directory /root/www 8080 </dev/null >/root/log 2>&1 &',
    )
    const client = new PortClient(test.platform, sandbox.id, 8080)
    const before = await new PortClient(test.platform, sandbox.id, 8081).ask('/')
    await client.listening()
    const listing = await client.text('/')
    const sockets = await sandbox.exec('python3 -c \'print(open("/proc/net/tcp").read())\'')
    return [
      exactly('its file', await client.text('/hello.txt'), 'hello from the guest\n'),
      exactly('its listing names it', String(listing.includes('hello.txt')), 'true'),
      exactly('it listens on', sockets.stdout.includes('0100007F:1F90') ? '127.0.0.1' : 'another address', '127.0.0.1'),
      exactly('a port without a server', before.status, 502),
    ]
  },
}
