/** What others take for the same: gVisor's and CRIU's checkpoint and restore of a process with 50 MB of memory of its own. */

import { type Row, row, unavailable } from '../stats.ts'
import { PeerRoom } from './room.ts'

interface Peer {
  readonly name: string
  start(id: string): string
  exec(id: string, command: string): string
  checkpoint(id: string, folder: string): string
  /** Between checkpoint and restore, not measured. */
  between(id: string): string
  restore(id: string, folder: string): string
  remove(id: string): string
}

const bundle = '--bundle /mnt/bundle'
const quiet = '>/dev/null 2>/dev/null'

const criu: Peer = {
  name: 'criu',
  start: (id) => `runc run --detach ${bundle} ${id} ${quiet}`,
  exec: (id, command) => `runc exec ${id} ${command}`,
  checkpoint: (id, folder) => `runc checkpoint --image-path ${folder} --work-path ${folder}.work ${id}`,
  between: () => 'true',
  restore: (id, folder) =>
    `runc restore --detach --image-path ${folder} --work-path ${folder}.work ${bundle} ${id} ${quiet}`,
  remove: (id) => `runc delete --force ${id} ${quiet}`,
}

const runsc = 'runsc --root /run/runsc --network none --ignore-cgroups --platform systrap --overlay2 none'

const gvisor: Peer = {
  name: 'gvisor',
  start: (id) => `${runsc} run --detach ${bundle} ${id} ${quiet}`,
  exec: (id, command) => `${runsc} exec ${id} ${command}`,
  checkpoint: (id, folder) => `${runsc} checkpoint --image-path ${folder} ${id}`,
  between: (id) => `${runsc} delete --force ${id} ${quiet}`,
  restore: (id, folder) => `${runsc} restore --detach --image-path ${folder} ${bundle} ${id} ${quiet}`,
  remove: (id) => `${runsc} delete --force ${id} ${quiet}`,
}

const peers = [gvisor, criu]

export const peerRows = peers.flatMap(({ name }) => [`peer.${name}.checkpoint`, `peer.${name}.restore`])

/** Both rows of every peer. One that cannot run here says why. */
export async function measurePeers(samples: number, say: (text: string) => void): Promise<Row[]> {
  const rows: Row[] = []
  for (const peer of peers) {
    const names = [`peer.${peer.name}.checkpoint`, `peer.${peer.name}.restore`] as const
    try {
      const { checkpoint, restore } = await measure(peer, samples, say)
      rows.push(row(names[0], 'ms', checkpoint), row(names[1], 'ms', restore))
    } catch (error) {
      const why = (error instanceof Error ? error.message : String(error)).trim().split('\n').slice(-2).join(' ')
      rows.push(...names.map((name) => unavailable(name, 'ms', why)))
    }
  }
  return rows
}

async function measure(peer: Peer, samples: number, say: (text: string) => void) {
  const found = { checkpoint: [] as number[], restore: [] as number[] }
  const room = await PeerRoom.open(bundleConfig)
  const run = async (command: string): Promise<number> => {
    const { code, ms, output } = await room.run(command)
    if (code !== 0) throw new Error(`${command.split(' ')[0]} answered ${code}: ${output}`)
    return ms
  }
  try {
    for (let n = 0; n < samples; n++) {
      say(`peer.${peer.name} ${n + 1}/${samples}`)
      const id = `${room.name}-${n}`
      const folder = `/mnt/${id}`
      await run(`mkdir ${folder}`)
      await run(peer.start(id))
      await run(peer.exec(id, "sh -c 'until [ -e /dev/ready ]; do sleep 0.02; done'"))
      found.checkpoint.push(await run(peer.checkpoint(id, folder)))
      await run(peer.between(id))
      found.restore.push((await run(peer.restore(id, folder))) + (await run(peer.exec(id, '/bin/true'))))
      await run(peer.remove(id))
      await run(`rm -rf ${folder} ${folder}.work`)
    }
  } finally {
    await room.close()
  }
  return found
}

/** 50 MB that differ in every page from anything else. */
const program = [
  'import os, time',
  'memory = bytearray(os.urandom(50_000_000))',
  "open('/dev/ready', 'w').close()",
  'while True: time.sleep(3600)',
].join('\n')

function bundleConfig(name: string): object {
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      args: ['/usr/bin/python3', '-c', program],
      env: ['PATH=/usr/sbin:/usr/bin'],
      cwd: '/',
      noNewPrivileges: true,
    },
    root: { path: 'rootfs', readonly: true },
    hostname: 'peer',
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755', 'size=65536k'] },
      { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
    ],
    linux: {
      cgroupsPath: `/${name}`,
      namespaces: ['pid', 'ipc', 'uts', 'mount', 'network'].map((type) => ({ type })),
    },
  }
}
