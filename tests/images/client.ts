/** The unmodified `iii-sdk` for longer than a test waits: silent, with many calls, with much input, and with its connection cut under a command. */

import { createHash, randomBytes } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import { exactly, type Finding, type Proof, type Scene, shown, told } from './proof.ts'

const idleMs = 66_000
const parallel = 50
const inputBytes = 5_000_000
/** Seconds that a command goes on behind the cut: over before the client is back, about then, and long after. */
const remaining = [0.2, 1, 2, 6] as const

export const client: readonly Proof[] = [
  { name: 'iii.idle', run: (scene) => withSandbox(scene, (id) => silent(scene, id)) },
  { name: 'iii.parallel', run: (scene) => withSandbox(scene, (id) => busy(scene, id)) },
  { name: 'iii.stdin', run: (scene) => withSandbox(scene, (id) => fed(scene, id)) },
  { name: 'iii.reconnect', run: (scene) => withSandbox(scene, (id) => cutOff(scene, id)) },
]

async function withSandbox(scene: Scene, run: (id: string) => Promise<Finding[]>): Promise<Finding[]> {
  const id = await scene.calls.create({ image: 'python' })
  try {
    return await run(id)
  } finally {
    await scene.calls.stop(id)
  }
}

/** Longer than the 60 s after which the package gives a silent connection up. */
async function silent({ calls, relay }: Scene, id: string): Promise<Finding[]> {
  let again = 0
  const watched = relay.reconnected().then(() => again++)
  await Promise.race([wait(idleMs), watched])
  const { stdout } = await calls.exec(id, { cmd: 'echo still here' })
  return [
    told('nothing was called for', `${idleMs / 1000} s`),
    exactly('connections made meanwhile', again, 0),
    exactly('then a command says', stdout, 'still here\n'),
  ]
}

async function busy({ calls }: Scene, id: string): Promise<Finding[]> {
  const indices = Array.from({ length: parallel }, (_, index) => index)
  const start = performance.now()
  const right = await Promise.all(
    indices.map(async (index) => {
      const path = `/tmp/many/${index}`
      const content = `${index} `.repeat(index + 1)
      const asked = { sandbox_id: id, path, content, parents: true }
      const answer = await calls.trigger<{ path: string; bytes_written: number }>('sandbox::fs::write', asked)
      return answer.path === path && answer.bytes_written === content.length
    }),
  )
  return [
    told(`${parallel} calls at once took`, `${shown(performance.now() - start)} ms`),
    exactly('answers that belong to their call', right.filter(Boolean).length, parallel),
    exactly(
      'files there',
      Number((await calls.exec(id, { cmd: 'sh', args: ['-c', 'ls /tmp/many | wc -l'] })).stdout),
      parallel,
    ),
  ]
}

async function fed({ calls }: Scene, id: string): Promise<Finding[]> {
  const input = randomBytes(inputBytes)
  const start = performance.now()
  const { stdout } = await calls.exec(id, { cmd: 'sha256sum', stdin: input.toString('base64') })
  return [
    told(`${inputBytes / 1e6} MB of input took`, `${shown(performance.now() - start)} ms`),
    exactly('the guest read', stdout.slice(0, 64), createHash('sha256').update(input).digest('hex')),
  ]
}

async function cutOff({ calls, relay }: Scene, id: string): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const seconds of remaining) {
    const begun = `/tmp/begun-${seconds}`
    const running = calls.exec(id, {
      cmd: 'sh',
      args: ['-c', `echo x >>${begun}; sleep ${seconds + 0.5}; wc -l <${begun}`],
    })
    // The file itself cannot be waited for, as a sandbox runs one command at a time.
    await wait(500)
    relay.cut()
    findings.push(
      exactly(`cut ${seconds} s before its end, a command ran so often`, (await running).stdout.trim(), '1'),
    )
  }
  return findings
}
