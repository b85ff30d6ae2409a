/** An account with images, and a runner that pulls and builds them as a test says. */

import { runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { type ImageEvent, type ImageList, type ImageRecord, imageEvent, imageRecord } from '@portico/shared/api'
import type { RunnerPolicy } from '@portico/shared/control'
import type { TunnelStream } from '@portico/shared/tunnel'
import { expect } from 'vitest'
import { buildApp } from '../src/app.ts'
import type { ImageState } from '../src/image/state.ts'
import { type Ask, answer, ask } from './client.ts'
import { someProcess } from './guest-scene.ts'
import { EventReader, end, stdout, tell, tellsOutput } from './process-guest.ts'
import { RunnerScene } from './runner-scene.ts'
import { guestAnswers, pulledImage, type Script, type ScriptedRunner } from './scripted-runner.ts'

export const policy: RunnerPolicy = {
  default_cpus: 1,
  default_memory_mb: 512,
  default_idle_timeout_secs: 300,
  max_concurrent_sandboxes: 32,
  catalog: [{ name: 'data', oci_ref: 'docker.io/library/data:1', kind: 'custom' }],
}

export const alpine = pulledImage('alpine:3.20')

const encoder = new TextEncoder()

/** What a runner was asked to boot last. */
export const booted = (runner: ScriptedRunner) => {
  const call = runner.calls.findLast(({ op }) => op === 'sandbox.create')
  return call?.op === 'sandbox.create' ? call.spec.image : undefined
}

/** The snapshots that it was told to delete. */
export const deletedOn = (runner: ScriptedRunner) =>
  runner.calls.flatMap((call) => (call.op === 'snapshot.delete' ? [call.snapshot] : []))

/** Ends an image's object in the middle of whatever it does. */
export const interrupt = (id: string) =>
  runInDurableObject(object(id), (_object, state) => state.abort('interrupted')).catch(() => undefined)

/** A guest in which every command prints its name and ends with this code. */
export function guest(exitCode: (shell: string) => number = () => 0): Script {
  return {
    'guest.request': async (call, stream) => {
      if (call.method === 'POST' && call.path === '/processes') return runs(stream, exitCode)
      if (call.path === '/ports') return guestAnswers(stream, 200, { ports: [{ port: 8080, address: '0.0.0.0' }] })
      if (call.path.startsWith('/files')) {
        while ((await stream.read()) !== undefined);
        return guestAnswers(stream, 200, { path: '/x', size: 1 })
      }
      guestAnswers(stream, 404, { error: { code: 'file_not_found', message: 'cannot: none' } })
    },
  }
}

async function runs(stream: TunnelStream, exitCode: (shell: string) => number): Promise<void> {
  const asked = await bodyOf<{ shell: string; follow?: boolean }>(stream)
  if (asked.follow !== true) return guestAnswers(stream, 201, someProcess)
  tellsOutput(stream)
  const text = `ran ${asked.shell}\n`
  const code = exitCode(asked.shell)
  const output = code === 0 ? stdout(0, text) : { kind: 'stderr' as const, offset: 0, bytes: encoder.encode(text) }
  await tell(stream, output, end(text.length, code))
  stream.end()
}

export async function bodyOf<Body>(stream: TunnelStream): Promise<Body> {
  const decoder = new TextDecoder()
  let text = ''
  for (let bytes = await stream.read(); bytes !== undefined; bytes = await stream.read()) text += decoder.decode(bytes)
  return JSON.parse(text) as Body
}

export const object = (id: string) => env.IMAGES.get(env.IMAGES.idFromName(id))

export const stateOf = (id: string) =>
  runInDurableObject(object(id), (_object, { storage }) => storage.kv.get<ImageState>('image'))

/** Registers its own set-up and clean-up; what it holds is of the test that runs. */
export function imageScene() {
  const scene = new RunnerScene()

  const images = (more: Ask = {}) => ask('/v1/images', { key: scene.tenant.key, ...more })
  const make = async (json: object) => {
    const response = await images({ json })
    const text = await response.text()
    expect(response.status, text).toBe(202)
    return imageRecord.parse(JSON.parse(text))
  }
  const listed = async () => (await answer<ImageList>('/v1/images', { key: scene.tenant.key })).own
  const remove = (id: string, key = scene.tenant.key) => ask(`/v1/images/${id}`, { method: 'DELETE', key })
  const create = (json: object) => ask('/v1/runs', { key: scene.tenant.key, json })

  /** The same request to a Worker that has just begun: what it knows of the region is new. */
  async function fresh(path: string, json?: object): Promise<Response> {
    const headers = { authorization: `Bearer ${scene.tenant.key}`, 'content-type': 'application/json' }
    const content = json === undefined ? {} : { method: 'POST', body: JSON.stringify(json) }
    return buildApp().request(`http://portico.test${path}`, { headers, ...content }, env)
  }

  /** All events until the end, once it is there. */
  async function events(id: string, headers: Record<string, string> = {}): Promise<ImageEvent[]> {
    const response = await ask(`/v1/images/${id}/events`, { key: scene.tenant.key, headers })
    expect(response.headers.get('content-type')).toBe('text/event-stream')
    return (await new EventReader(response).rest()).map(({ data }) => imageEvent.parse(data))
  }

  const last = async (id: string) => (await events(id)).at(-1)

  /** Waits until it is ready. */
  async function ready(json: object): Promise<ImageRecord> {
    const { id } = await make(json)
    const over = await last(id)
    if (over?.event !== 'ready') throw new Error(`not ready: ${JSON.stringify(over)}`)
    return over.image
  }

  /** Has the account sweep what it is to have removed. */
  const sweep = () => runDurableObjectAlarm(env.ACCOUNTS.get(env.ACCOUNTS.idFromName(scene.tenant.account)))
  return { scene, images, make, listed, remove, create, fresh, events, last, ready, sweep }
}
