/**
 * Building an image: in a sandbox of the account, which is there for as long as the build is. Files, then steps, then what is to run on in each
 * sandbox of the image; then the sandbox is kept as it is, as a snapshot that belongs to the image, and destroyed.
 *
 *   create ──▶ files ──▶ step 1 … n ──▶ start ──▶ snapshot ──▶ made
 *      └─────────┴──────────┴────────────┴───────────┴── failed, deleted ──▶ the sandbox is destroyed, and nothing is kept
 */

import type { BuildImageRequest, BuildStep, RunRecord } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { newSandboxId, newSnapshotId } from '@portico/shared/ids'
import { usualTag } from '../account/images.ts'
import { callGuest } from '../guest/call-guest.ts'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import { readText, waitMs } from '../process/ask.ts'
import { createOf, endSandbox, type Machine } from './create.ts'
import { start } from './start.ts'
import type { Made } from './state.ts'
import { runStep } from './step.ts'
import { timed, type Work } from './work.ts'

/** A build that dies without a word leaves a sandbox that nobody uses, so that it ends by itself. */
const idleSeconds = 900

/** Builds the image. */
export async function build(work: Work, request: BuildImageRequest, machine: Machine): Promise<Made> {
  const sandbox = newSandboxId()
  const took: Record<string, number> = {}
  const phase = <Value>(name: string, run: () => Promise<Value>) => {
    work.signal.throwIfAborted()
    return timed(work, took, name, run)
  }
  work.builds(sandbox)
  // Whatever is under way in it breaks off.
  const cancel = () => void endSandbox(work.objects, work.principal, sandbox).catch(() => undefined)
  work.signal.addEventListener('abort', cancel, { once: true })
  try {
    work.tell({ event: 'progress', phase: 'create' })
    const made = await phase('create', () => create(work, sandbox, request, machine))
    await phase('files', () => writeFiles(work, sandbox, request.files))
    await phase('steps', () => runSteps(work, sandbox, request.steps))
    if (request.start !== undefined) {
      const { start: command, ready_port: port } = request
      work.tell({ event: 'progress', phase: 'start', command })
      await phase('start', () => start(work, sandbox, command, port))
    }
    work.tell({ event: 'progress', phase: 'snapshot' })
    const kept = await phase('snapshot', () => keep(work, sandbox))
    const { vcpus, mem_mib, disk_mib } = made
    return { facts: { vcpus, mem_mib, disk_mib, took_ms: took }, sizeBytes: kept.sizeBytes, snapshot: kept.id }
  } catch (thrown) {
    throw asFailure(AppError.from(thrown))
  } finally {
    work.signal.removeEventListener('abort', cancel)
    await endSandbox(work.objects, work.principal, sandbox)
      .then(() => work.builds(''))
      .catch(() => undefined)
  }
}

async function create(work: Work, sandbox: string, request: BuildImageRequest, machine: Machine): Promise<RunRecord> {
  const { from: image, env, name, tag = usualTag } = request
  const asleep = { idle_timeout: idleSeconds, auto_resume: false, on_idle: 'destroy' } as const
  return createOf(work, {
    sandbox,
    principal: work.principal,
    spec: { image, env, ...asleep },
    machine,
    marks: { name: `build of ${name}:${tag}`, labels: {} },
  })
}

async function writeFiles(work: Work, sandbox: string, files: BuildImageRequest['files']): Promise<void> {
  if (files.length > 0) work.tell({ event: 'progress', phase: 'files' })
  for (const { path, content, mode } of files) {
    work.signal.throwIfAborted()
    const query = new URLSearchParams({ path, ...(mode === undefined ? {} : { mode }) })
    const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0))
    const headers = { 'content-type': 'application/octet-stream', 'content-length': String(bytes.length) }
    const body = new Blob([bytes]).stream()
    const asked = { method: 'PUT', path: `/files?${query}`, headers, body, waitMs } as const
    await readText(await callGuest(work, sandbox, asked))
  }
}

async function runSteps(work: Work, sandbox: string, steps: readonly BuildStep[]): Promise<void> {
  for (const [index, step] of steps.entries()) {
    work.signal.throwIfAborted()
    work.tell({ event: 'progress', phase: 'step', step: index + 1, command: step.run })
    await runStep(work, sandbox, step, index + 1)
  }
}

async function keep({ objects, principal, id }: Work, sandbox: string) {
  const saved = objects.sandbox(sandbox).snapshot(principal, newSnapshotId(), id)
  return unwrap(await reach('keep the image', saved))
}

/** What failed for a reason of its own keeps it; the rest says that it was the build. */
function asFailure(error: AppError): AppError {
  const text = error.message.startsWith('cannot build') ? error.message : `cannot build the image: ${error.message}`
  return new AppError(error.code === 'cancelled' ? 'build_failed' : error.code, text, { cause: error })
}
