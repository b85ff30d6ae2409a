/** The front door with sandboxes on a runner that answers at once. */

import { resolve } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { openPlatform, type Platform } from '@portico/deploy/local'
import { cpuSeconds, MeasuredProcess } from './process.ts'
import type { Scene } from './scene.ts'

const runner = resolve(import.meta.dirname, 'instant-runner.ts')
export const region = 'local'
/** Calls go to them in turn, as no account sends all it does to one sandbox. */
const sandboxes = 16

/** Opens a platform without runners of its own, lets the instant one join and creates the sandboxes. */
export async function openPortico(stateDir: string, body: string): Promise<Scene> {
  const platform = await openPlatform({ stateDir, runners: 0, region })
  let joined: MeasuredProcess | undefined
  const close = async () => {
    await joined?.[Symbol.asyncDispose]()
    await platform.close()
  }
  try {
    const { tunnel, token } = await enrolRunner(platform)
    joined = await startInstantRunner(tunnel, token)
    const apiKey = await newKey(platform)
    const paths: string[] = []
    for (let n = 0; n < sandboxes; n++) paths.push(`/v1/runs/${await newSandbox(platform, apiKey)}/exec`)
    const [door, peer] = [platform.frontDoor.child.pid ?? 0, joined.pid]
    return {
      target: { url: platform.url, paths, post: { body, authorization: `Bearer ${apiKey}` } },
      cpu: async () => ({ workerd: await cpuSeconds(door), peer: await cpuSeconds(peer) }),
      [Symbol.asyncDispose]: close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** Starts the runner whose sandboxes answer at once. */
export async function startInstantRunner(tunnel: string, token: string): Promise<MeasuredProcess> {
  const isStarted = (line: string) => (line === 'started' ? true : undefined)
  const command = [...runnerCommand, runner, tunnel]
  return (await MeasuredProcess.start(command, { RUNNER_TOKEN: token }, 1, isStarted)).process
}

/** A key of an account of its own. */
export async function newKey({ url, adminKey }: Platform): Promise<string> {
  const { id } = await post<{ id: string }>(`${url}/admin/accounts`, adminKey, { name: 'bench' })
  return (await post<{ key: string }>(`${url}/admin/accounts/${id}/keys`, adminKey, { region, name: 'bench' })).key
}

/** Makes room for one more runner: the URL of its tunnel and its token. */
export async function enrolRunner({ url, adminKey }: Platform): Promise<{ tunnel: string; token: string }> {
  const { token } = await post<{ token: string }>(`${url}/admin/runners`, adminKey, { region, name: 'bench' })
  return { tunnel: `${url.replace(/^http/, 'ws')}/v1/runner/tunnel`, token }
}

/** How a program of a runner is started. */
export const runnerCommand = [process.execPath, '--conditions', 'portico-source']

/** A sandbox, as soon as the runner is there to take it. */
export async function newSandbox({ url }: Platform, apiKey: string): Promise<string> {
  const limit = AbortSignal.timeout(20_000)
  for (;;) {
    try {
      return (await post<{ id: string }>(`${url}/v1/runs`, apiKey, { image: 'python', timeout: 0 })).id
    } catch (error) {
      if (limit.aborted) throw error
      await wait(50)
    }
  }
}

async function post<Answer>(url: string, key: string, body: object): Promise<Answer> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  })
  if (!response.ok) throw new Error(`cannot measure: ${new URL(url).pathname} answered ${await response.text()}`)
  return (await response.json()) as Answer
}
