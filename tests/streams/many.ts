/** Many processes whose output is followed at once, with the runner's tunnel cut in the middle: all outputs complete, by hash. */

import { createHash } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import type { Sandbox } from '@portico/sdk'
import { atMost as lanes } from '../kit/at-most.ts'
import { exactly, type Finding, type Proof, type Scene, told } from './proof.ts'

const linesOfHalf = 4500
/** So many processes are started at once. */
const startLanes = 16
/** Where each of them waits until all are followed, and until the tunnel was cut. */
const gates = ['/root/gate-1', '/root/gate-2'] as const

export const many: Proof = {
  name: 'many',
  async run(scene) {
    return [...(await cutWhileFollowing(scene, 1, 200)), ...(await cutWhileFollowing(scene, 4, 500))]
  },
}

/** Follows `total` processes in so many sandboxes, cuts the tunnel when half of it has come, and compares what each follower got. */
async function cutWhileFollowing({ test, relay, say }: Scene, sandboxes: number, total: number): Promise<Finding[]> {
  const what = `${total} on ${sandboxes === 1 ? 'one sandbox' : `${sandboxes} sandboxes`}`
  const made: Sandbox[] = []
  try {
    for (let n = 0; n < sandboxes; n++) made.push(await test.portico.create({ image: 'python', timeoutSec: 0 }))
    for (const sandbox of made) await sandbox.exec(`mkfifo ${gates.join(' ')}`)
    const started = await lanes(startLanes, Array.from({ length: total }), (_, index) =>
      (made[index % sandboxes] as Sandbox).spawn(['sh', '-c', script(index)]),
    )
    const firstHalves = started.reduce((sum, _, index) => sum + half(index, 0).length, 0)
    let [received, open, openAtCut] = [0, total, 0]
    const start = performance.now()
    const { promise: halfway, resolve: reachHalf } = Promise.withResolvers<void>()
    const following = started.map(async (process) => {
      const hash = createHash('sha256')
      let length = 0
      for await (const text of process.stdout) {
        hash.update(text)
        length += text.length
        received += text.length
        if (received === firstHalves) reachHalf()
      }
      open--
      const { exitCode } = await process.wait()
      return { hash: hash.digest('hex'), length, exitCode }
    })
    await openGate(made, gates[0])
    await Promise.race([halfway, Promise.all(following)])
    openAtCut = open
    say(`${what}: cut after ${megabytes(received)} with ${open} open`)
    relay.cut()
    await openGate(made, gates[1])
    const outputs = await Promise.all(following)
    const whole = outputs.filter(({ hash, length, exitCode }, index) => {
      const wanted = half(index, 0) + half(index, 1)
      const isWhole = exitCode === 0 && hash === createHash('sha256').update(wanted).digest('hex')
      if (!isWhole) say(`process ${index} ended with ${exitCode}, and ${length} of ${wanted.length} characters came`)
      return isWhole
    })
    return [
      exactly(`${what}: outputs complete by hash`, whole.length, total),
      exactly(`${what}: streams open at the cut`, openAtCut, total),
      told(`${what}: in all`, `${megabytes(received)} in ${Math.round((performance.now() - start) / 1000)} s`),
    ]
  } finally {
    await Promise.allSettled(made.map((sandbox) => sandbox.destroy()))
  }
}

/** Lets all pass that wait there or come there later. Repeated where the tunnel is still away: what is open stays open. */
async function openGate(sandboxes: readonly Sandbox[], gate: string): Promise<void> {
  const limit = AbortSignal.timeout(30_000)
  for (const sandbox of sandboxes) {
    for (;;) {
      const opened = sandbox.exec(`setsid sleep 3600 >${gate} </dev/null 2>&1 &`)
      if (
        await opened.then(
          () => true,
          () => false,
        )
      )
        break
      await wait(200, undefined, { signal: limit })
    }
  }
}

/** Counts to its half, and when the tunnel was cut to its end. */
function script(index: number): string {
  const [first, second] = [0, 1].map((part) => firstOf(index, part)) as [number, number]
  const counts = [first, second].map((from) => `seq ${from} ${from + linesOfHalf - 1}`)
  return `: <${gates[0]}; ${counts[0]}; : <${gates[1]}; ${counts[1]}`
}

function firstOf(index: number, part: number): number {
  return 1 + (2 * index + part) * linesOfHalf
}

function half(index: number, part: number): string {
  return Array.from({ length: linesOfHalf }, (_, line) => `${firstOf(index, part) + line}\n`).join('')
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}
