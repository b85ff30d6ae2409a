/**
 * The runner's process is killed at every step of what it does, and another is started on the same folder. The sandbox must then run, or resume, exactly as
 * it was; a snapshot must be whole or not there; a fork's child must be whole or not there.
 *
 *   runner n ── does, dies at step n ──▶ runner n+1 ── takes over, resumes, checks ──▶ does, dies at step n+1 …
 */

import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { paths } from '@portico/deploy/checkout'
import { forkSteps, hibernateSteps, resumeSteps, snapshotSteps } from '@portico/runner/engine'
import { AppError } from '@portico/shared/errors'
import { newSandboxId, newSnapshotId } from '@portico/shared/ids'
import { giveTemplates } from '../kit/templates.ts'
import { check, type Kept, startKeeper, turn } from './keeper.ts'
import { RunnerProcess } from './runner-process.ts'
import type { SoakSize } from './size.ts'

/** What was found after one kill. */
export interface Survived {
  readonly step: string
  /** In which state the next runner found the sandbox. */
  readonly state: string
  /** Whether what the step belongs to had come to be: the snapshot or the child. */
  readonly made?: boolean
}

interface Scene {
  readonly runner: RunnerProcess
  readonly id: string
  readonly size: SoakSize
}

interface Operation {
  readonly steps: readonly string[]
  /** What has to be so before; not killed. */
  prepare?(scene: Scene): Promise<void>
  /** Does it; `made` is the id of what it makes. */
  run(scene: Scene, made: string): Promise<void>
  newId?(): string
  /** Checks and removes what it made; answers whether it was there. */
  after?(scene: Scene, made: string, kept: Kept): Promise<boolean>
}

const operations: Readonly<Record<SoakSize['killed'][number], Operation>> = {
  hibernate: {
    steps: hibernateSteps,
    run: ({ runner, id }) => runner.call('hibernate', id),
  },
  resume: {
    steps: resumeSteps,
    prepare: ({ runner, id }) => runner.call('hibernate', id),
    run: ({ runner, id }) => runner.call('resume', id),
  },
  snapshot: {
    steps: snapshotSteps,
    newId: newSnapshotId,
    run: ({ runner, id }, made) => runner.call('snapshot', id, made),
    async after({ runner, size }, made, kept) {
      const copy = newSandboxId()
      try {
        await runner.call('restore', copy, made, size.spec)
      } catch (error) {
        if (error instanceof AppError && error.code === 'snapshot_not_found') return false
        throw error
      }
      await check(runner.guest(copy), kept, 'restored from a snapshot that a kill cut short')
      await runner.call('destroy', copy)
      await runner.call('deleteSnapshot', made)
      return true
    },
  },
  fork: {
    steps: forkSteps,
    newId: newSandboxId,
    run: ({ runner, id }, made) => runner.call('fork', id, [{ sandbox: made, generation: 1 }]),
    async after({ runner }, made, kept) {
      if ((await runner.call('states'))[made] === undefined) return false
      await check(runner.guest(made), kept, 'child of a fork that a kill cut short')
      await runner.call('destroy', made)
      return true
    },
  },
}

/** Kills at every wanted step of everything that `size` names. Throws at the first wrong byte. */
export async function killAtEveryStep(
  size: SoakSize,
  say: (text: string) => void,
  wanted: (step: string) => boolean = () => true,
): Promise<Survived[]> {
  await mkdir(paths.temporary, { recursive: true })
  const stateDir = await mkdtemp(join(paths.temporary, 'soak-'))
  await giveTemplates(stateDir)
  const id = newSandboxId()
  let runner = await RunnerProcess.open(stateDir)
  const found: Survived[] = []
  try {
    await runner.call('create', id, size.spec)
    await startKeeper(runner.guest(id), size.keeper)
    for (const operation of size.killed.map((name) => operations[name])) {
      for (const step of operation.steps.filter(wanted)) {
        const kept = await turn(runner.guest(id))
        const made = operation.newId?.() ?? ''
        await dieAt(step, operation, { runner, id, size }, made)
        runner = await RunnerProcess.open(stateDir)
        found.push(await inspect(step, operation, { runner, id, size }, made, kept))
        say(`killed at ${step}: ${found.at(-1)?.state}`)
      }
    }
    const left = await leftovers(stateDir, id)
    if (left.length > 0) throw new Error(`cannot clear up after a kill: left are ${left.join(', ')}`)
    return found
  } finally {
    await clear(runner, stateDir)
  }
}

async function dieAt(step: string, operation: Operation, scene: Scene, made: string): Promise<void> {
  await operation.prepare?.(scene)
  await scene.runner.call('dieAt', step)
  const failure = await operation.run(scene, made).then(
    () => new Error('it finished'),
    (error: Error) => error,
  )
  if (scene.runner.exited === null) await scene.runner.kill()
  else if (scene.runner.exited === 'SIGKILL') return
  throw new Error(`cannot kill the runner at ${step}: ${failure.message}`)
}

async function inspect(step: string, operation: Operation, scene: Scene, made: string, kept: Kept): Promise<Survived> {
  const { runner, id } = scene
  const state = (await runner.call('states'))[id] ?? 'gone'
  if (state === 'hibernated') await runner.call('resume', id)
  else if (state !== 'running') throw new Error(`cannot keep a sandbox: killed at ${step}, it is ${state}`)
  await check(runner.guest(id), kept, `killed at ${step}, ${state}`)
  const wasMade = await operation.after?.(scene, made, kept)
  return { step, state, ...(wasMade === undefined ? {} : { made: wasMade }) }
}

/** Files of machines, copies and saved states that nothing refers to any more, while one sandbox runs and no snapshot is kept. */
async function leftovers(stateDir: string, id: string): Promise<string[]> {
  const found: string[] = []
  const look = async (folder: string, known: readonly string[], most = 0) => {
    const names = (await readdir(join(stateDir, folder)).catch(() => [])).filter((name) => !known.includes(name))
    if (names.length > most) found.push(...names.map((name) => `${folder}/${name}`))
  }
  await look('vms', [], 1)
  await look('captures', [])
  await look('snapshots', [])
  await look('sandboxes', [id])
  await look(join('sandboxes', id), ['record.json'])
  return found
}

/** Whatever is left is taken over once more, and destroyed in order. */
async function clear(runner: RunnerProcess, stateDir: string): Promise<void> {
  try {
    const last = runner.exited === null ? runner : await RunnerProcess.open(stateDir)
    await last.close()
  } finally {
    await rm(stateDir, { recursive: true, force: true })
  }
}
