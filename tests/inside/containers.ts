/** Services in containers of other images than the sandbox's: Node's in one, Redis in another, and commands in them. */

import type { InsideClient } from '../kit/inside-client.ts'
import { exactly, type Finding, type Proof, type Scene, seconds, told, withSandbox } from './proof.ts'

export const containers: Proof = {
  name: 'containers',
  run: (scene) => withSandbox(scene, { image: 'python', diskMiB: 4096 }, (client) => otherImages(client, scene)),
}

async function otherImages(client: InsideClient, { say }: Scene): Promise<Finding[]> {
  const defining = performance.now()
  await client.services.upsert('app', {
    cmd: 'node',
    args: ['server.js'],
    container: true,
    image: 'node:20-slim',
    env: { PORT: '3000' },
    health_port: 3000,
  })
  const [defined, starting] = [seconds(defining), performance.now()]
  say(`defined in ${defined}`)
  const { status, pid } = await client.services.start('app')
  const started = seconds(starting)
  await client.services.upsert('redis', {
    cmd: 'redis-server',
    args: ['--port', '6379'],
    container: true,
    image: 'redis:7',
    health_port: 6379,
  })
  await client.services.start('redis')
  const answer = JSON.parse(
    await client.shell(
      `python3 -c "import urllib.request as u; print(u.urlopen('http://127.0.0.1:3000/hello').read().decode())"`,
    ),
  ) as { path: string; hostname: string }
  const node = await client.services.exec('app', ['node', '--version'])
  const here = await client.shell('command -v node || echo none')
  const ping = await client.services.exec('redis', ['redis-cli', 'ping'])
  const inside = await client.services.exec('redis', [
    'sh',
    '-c',
    'hostname; ps -e -o comm= | grep -c redis-server; exit 3',
  ])
  const late = await client.services.exec('redis', ['sleep', '30'], 1)
  await client.services.exec('redis', ['sh', '-c', 'echo kept >/kept'])
  await client.services.stop('redis')
  await client.services.start('redis')
  const kept = await client.services.exec('redis', ['cat', '/kept'])
  const mounts = await client.shell('ls /kept 2>&1 || true')
  await client.services.delete('app')
  return [
    told('a container from the image `containers`', `defined in ${defined}, started in ${started}`),
    exactly('its status', status, 'running'),
    exactly('it has a pid', String(typeof pid), 'number'),
    exactly('it answers on loopback', answer.path, '/hello'),
    exactly('Node in the container and in the sandbox', `${node.ok} ${here.trim()}`, 'true none'),
    exactly('`redis-cli ping` in the other', JSON.stringify(ping.stdout), '"PONG\\n"'),
    exactly(
      'an exit code comes through',
      `${inside.exit_code} ${inside.ok} ${inside.stdout.trim().split('\n')[1]}`,
      '3 false 1',
    ),
    exactly('one that takes too long', `${late.timed_out} ${late.ok}`, 'true false'),
    exactly('its files after a restart', kept.stdout, 'kept\n'),
    exactly('the sandbox does not see them', String(/No such file/.test(mounts)), 'true'),
    exactly('services left', (await client.services.list()).map(({ name }) => name).join(), 'redis'),
  ]
}
