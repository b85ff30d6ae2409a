/** One sandbox on one scripted runner: what the tests of guest calls start from. */

import type { FileStat, ProcessRecord, RunRecord, ServiceRecord } from '@portico/shared/api'
import { afterEach, beforeEach, expect } from 'vitest'
import { type Ask, answer, ask, newTenant } from './client.ts'
import { type Enrolled, enrol, type Script, ScriptedRunner } from './scripted-runner.ts'

export const done = {
  exit_code: 0,
  stdout: 'hi\n',
  stderr: '',
  timed_out: false,
  duration_ms: 3,
  stdout_truncated: false,
  stderr_truncated: false,
}

/** A process as its agent tells it. */
export const someProcess: ProcessRecord = {
  id: 'proc0123456789abcdef',
  pid: 42,
  argv: ['/bin/sh', '-c', 'make'],
  started_at: '2026-01-02T03:04:05.678Z',
  state: 'running',
  tty: false,
  output_start: 0,
  output_end: 0,
  stdin_end: 0,
}

/** A service as its agent tells it. */
export const someService: ServiceRecord = {
  name: 'web',
  cmd: 'node',
  args: ['server.js'],
  env: {},
  working_dir: null,
  user: null,
  health_port: 3000,
  needs: [],
  container: false,
  image: '',
  restart: 'no',
  start_timeout_secs: 60,
  stop_timeout_secs: 10,
  status: 'running',
  pid: 7,
  reason: '',
  exit_code: null,
  started_at: '2026-01-02T03:04:05.678Z',
  restarts: 0,
}

export const someCheckpoint = `cp${'a'.repeat(26)}`

/** A file as its agent tells it. */
export const someStat: FileStat = {
  name: 'hostname',
  path: '/etc/hostname',
  size: 3,
  modified_at: '2026-01-02T03:04:05.678Z',
  is_dir: false,
  permissions: '644',
  owner: 'root',
  group: 'root',
  symlink_target: '',
  type: 'file',
  uid: 0,
  gid: 0,
  allocated: 4096,
}

/** Registers its own set-up and clean-up; what it holds is of the test that runs. */
export class GuestScene {
  account = ''
  key = ''
  id = ''
  enrolled: Enrolled = { id: '', token: '' }

  constructor() {
    beforeEach(async () => {
      Object.assign(this, await newTenant())
      this.enrolled = await enrol()
    })
    afterEach(() => ScriptedRunner.cutAll())
  }

  /** A runner with one sandbox, whose guest does as told. */
  async start(guest: Script['guest.request'], script: Script = {}): Promise<ScriptedRunner> {
    const runner = await ScriptedRunner.connect(this.enrolled, {
      ...script,
      ...(guest === undefined ? {} : { 'guest.request': guest }),
    })
    await runner.report()
    this.id = (await answer<RunRecord>('/v1/runs', { key: this.key, json: { image: 'python' } })).id
    return runner
  }

  at(path: string): string {
    return `/v1/runs/${this.id}${path}`
  }

  exec(json: object, more: Ask = {}): Promise<Response> {
    return ask(this.at('/exec'), { key: this.key, json, ...more })
  }
}

/** Bytes that repeat nowhere soon. */
export function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 31 + (index >> 8)) & 0xff)
}

/** What the audit log says of commands and processes, once it says so much. */
export async function notedCalls(scene: GuestScene, count: number): Promise<{ event: string; data: unknown }[]> {
  const entries = async () => {
    const { body } = await ask(scene.at('/audit'), { key: scene.key })
    const lines = (await new Response(body).text()).trim().split('\n')
    const all = lines.map((line) => JSON.parse(line) as { event: string; data: unknown })
    return all
      .filter(({ event }) => /^(exec|process|file|service|checkpoint)\./.test(event))
      .map(({ event, data }) => ({ event, data }))
  }
  await expect.poll(async () => (await entries()).length).toBe(count)
  return entries()
}
