/** A reverse forward of OpenSSH. Its server runs in the peers' room with a key and a configuration of its own, and takes one key that was made for it. */

import { PeerRoom } from '../peers/room.ts'
import { answers, download, freePort, targetOf, type Way } from './way.ts'

const options = [
  'ListenAddress 127.0.0.1',
  'HostKey /tmp/ssh/host',
  'AuthorizedKeysFile /tmp/ssh/user.pub',
  'PidFile none',
  'UsePAM no',
  'StrictModes no',
  'PermitRootLogin prohibit-password',
  'PasswordAuthentication no',
]

const client = [
  'ssh -F none -i /tmp/ssh/user -N -f',
  '-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ExitOnForwardFailure=yes -o BatchMode=yes',
].join(' ')

/** `ssh -R` from where the server is, asked at the other end. */
export async function openSsh(server: number): Promise<Way> {
  const room = await PeerRoom.open(() => ({}))
  const run = async (command: string) => {
    const { code, output } = await room.run(command)
    if (code !== 0)
      throw new Error(`cannot measure: ${command.split(' ')[0]} ended with ${code}: ${output.slice(-300)}`)
  }
  try {
    const [port, entry] = [await freePort(), await freePort()]
    const config = [`Port ${port}`, ...options].map((option) => `'${option}'`).join(' ')
    await run('mkdir -p /tmp/ssh /run/sshd')
    for (const name of ['host', 'user']) await run(`ssh-keygen -q -t ed25519 -N "" -f /tmp/ssh/${name}`)
    await run(`printf '%s\\n' ${config} >/tmp/ssh/config`)
    await run('/usr/sbin/sshd -f /tmp/ssh/config')
    await run(`${client} -p ${port} -R 127.0.0.1:${entry}:127.0.0.1:${server} root@127.0.0.1`)
    const target = targetOf(entry)
    await answers(target)
    return { name: 'ssh', target, download, processes: {}, [Symbol.asyncDispose]: () => room.close() }
  } catch (error) {
    await room.close()
    throw error
  }
}
