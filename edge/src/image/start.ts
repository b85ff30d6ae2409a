/** What runs on in each sandbox of an image: started once the steps are done, and waited for until it listens. */

import { AppError } from '@portico/shared/errors'
import { z } from 'zod'
import { callGuest } from '../guest/call-guest.ts'
import { jsonContent, readAnswer, readProcess, waitMs } from '../process/ask.ts'
import { pause, type Work } from './work.ts'

/** How long it may take until it listens, and how often one looks. */
const readyLimitMs = 120_000
const lookMs = 250

const listening = z.object({ ports: z.array(z.object({ port: z.int() })).max(65_536) })

/** Starts the command; with a port, answers once something listens there. */
export async function start(work: Work, sandbox: string, command: string, port: number | undefined): Promise<void> {
  const asked = { method: 'POST', path: '/processes', ...jsonContent({ shell: command }), waitMs } as const
  const { id } = await readProcess(await callGuest(work, sandbox, asked))
  if (port === undefined) return
  const until = work.clock.now() + readyLimitMs
  while (!(await isListening(work, sandbox, port))) {
    await mustRun(work, sandbox, id)
    if (work.clock.now() >= until) {
      const why = `nothing listens on port ${port} within ${readyLimitMs / 1000} s of its start`
      throw new AppError('build_failed', `cannot build the image: ${why}`)
    }
    await pause(work, lookMs)
  }
}

async function isListening(work: Work, sandbox: string, port: number): Promise<boolean> {
  const answer = await callGuest(work, sandbox, { method: 'GET', path: '/ports', waitMs })
  const { ports } = await readAnswer(answer, listening)
  return ports.some((one) => one.port === port)
}

async function mustRun(work: Work, sandbox: string, id: string): Promise<void> {
  const path = `/processes/status?id=${encodeURIComponent(id)}`
  const { state, ending } = await readProcess(await callGuest(work, sandbox, { method: 'GET', path, waitMs }))
  if (state === 'running') return
  const why = `what it starts exited with code ${ending?.exit_code ?? 'unknown'} before it was ready`
  throw new AppError('build_failed', `cannot build the image: ${why}`)
}
