/** Putting a sandbox with 64 MiB of memory of its own on disk and letting it go on, next to gVisor and CRIU doing so with a process of 50 MB. */

import { mkdtemp, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { paths } from '@portico/deploy/checkout'
import type { Engine } from '@portico/runner/engine'
import { newSandboxId, newSnapshotId } from '@portico/shared/ids'
import { bareRestores } from './bare-template.ts'
import type { Measurement, Run } from './measurement.ts'
import { measurePeers, peerRows } from './peers/checkpoint.ts'
import { dirty, firstExec, spec, timed, withEngine, withOne } from './sandboxes.ts'
import { type Row, row } from './stats.ts'

const mib = 64
const sleepRows = [`hibernate.${mib}MiB`, `resume.${mib}MiB`] as const
const copyRows = [`snapshot.${mib}MiB`, `restore.${mib}MiB`] as const

export const saving: Measurement = {
  rows: [...peerRows, ...sleepRows, ...copyRows],
  async run(run) {
    const rows: Row[] = []
    // The peers' numbers are the goal of the others.
    rows.push(...(await measurePeers(run.samples, run.say)))
    if ([...sleepRows, ...copyRows].some(run.wanted)) rows.push(...(await ours(run)))
    return rows
  },
}

async function ours(run: Run): Promise<Row[]> {
  const { say, samples } = run
  say('saving: floors')
  const written = await writes(samples)
  const restored = await bareRestores(samples)
  const build = (names: readonly [string, string], found: { save: number[]; wake: number[] }) => [
    row(names[0], 'ms', found.save, `${mib} MiB written, synced`, written),
    row(names[1], 'ms', found.wake, 'bare QEMU restore', restored),
  ]
  return await withEngine((engine) =>
    withOne(engine, async (id) => {
      await dirty(engine, id, mib)
      return [
        ...build(sleepRows, await repeat(run, sleepRows[0], () => sleepOnce(engine, id))),
        ...build(copyRows, await repeat(run, copyRows[0], () => copyOnce(engine, id))),
      ]
    }),
  )
}

interface Once {
  readonly save: number
  readonly wake: number
}

async function repeat({ say, samples }: Run, name: string, once: () => Promise<Once>) {
  const found = { save: [] as number[], wake: [] as number[] }
  for (let n = 0; n < samples; n++) {
    say(`${name} ${n + 1}/${samples}`)
    const { save, wake } = await once()
    found.save.push(save)
    found.wake.push(wake)
  }
  return found
}

async function sleepOnce(engine: Engine, id: string): Promise<Once> {
  const save = await timed(() => engine.hibernate(id, 1))
  const wake = await timed(async () => {
    await engine.resume(id, 1)
    await firstExec(engine, id)
  })
  return { save, wake }
}

async function copyOnce(engine: Engine, id: string): Promise<Once> {
  const snapshot = newSnapshotId()
  const copy = newSandboxId()
  const save = await timed(() => engine.snapshot(id, 1, snapshot))
  const wake = await timed(async () => {
    await engine.restore(copy, 1, snapshot, spec)
    await firstExec(engine, copy)
  })
  await engine.destroy(copy, 1)
  await engine.deleteSnapshot(snapshot)
  return { save, wake }
}

/** Milliseconds of putting so much on disk for good. */
async function writes(samples: number): Promise<number[]> {
  const folder = await mkdtemp(join(paths.temporary, 'bench-'))
  const data = Buffer.alloc(mib << 20, 1)
  const found: number[] = []
  try {
    for (let n = 0; n < samples; n++) {
      const file = join(folder, String(n))
      found.push(
        await timed(async () => {
          await using handle = await open(file, 'w')
          await handle.writeFile(data)
          await handle.datasync()
        }),
      )
      await rm(file)
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  return found
}
