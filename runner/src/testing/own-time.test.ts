import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { OwnTime } from './own-time.ts'

interface Thread {
  readonly ran: number
  readonly waited: number
}

/** A process as `/proc` shows it. */
async function withProc(run: (root: string, shows: (...threads: Thread[]) => Promise<void>) => Promise<void>) {
  const root = await mkdtemp(join(tmpdir(), 'own-time-'))
  try {
    await run(root, async (...threads) => {
      for (const [number, { ran, waited }] of threads.entries()) {
        await mkdir(join(root, '7', 'task', String(number)), { recursive: true })
        await writeFile(join(root, '7', 'task', String(number), 'schedstat'), `${ran * 1e6} ${waited * 1e6} 42\n`)
      }
    })
  } finally {
    await rm(root, { recursive: true })
  }
}

it('counts what a process runs or sleeps, and not what it stands in line', async () => {
  await withProc(async (root, shows) => {
    await shows({ ran: 40, waited: 5000 }, { ran: 0, waited: 100 })
    const time = new OwnTime(7, root)
    const start = performance.now()
    const before = await time.look(start)
    await shows({ ran: 140, waited: 5900 }, { ran: 0, waited: 100 })
    expect((await time.look(start + 1000)) - before).toBeCloseTo(100)
    // Asleep.
    expect((await time.look(start + 2000)) - before).toBeCloseTo(1100)
    // Two threads stand in line at the same time, and one of them runs a little.
    await shows({ ran: 300, waited: 6740 }, { ran: 0, waited: 1000 })
    expect((await time.look(start + 3000)) - before).toBeCloseTo(1260)
  })
})

it.each([
  ['asleep', 'setInterval(() => undefined, 1e6)'],
  ['spinning', 'for (;;);'],
])('goes on for a process that is %s', async (_how, program) => {
  const child = spawn(process.execPath, ['-e', program], { stdio: 'ignore' })
  try {
    await new OwnTime(child.pid as number).reach(500, AbortSignal.timeout(20_000))
  } finally {
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
})
