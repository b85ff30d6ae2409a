/** One sandbox on one scripted runner: what the tests of guest calls start from. */

import type { RunRecord } from '@portico/shared/api'
import { afterEach, beforeEach } from 'vitest'
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

/** Registers its own set-up and clean-up; what it holds is of the test that runs. */
export class GuestScene {
  key = ''
  id = ''
  enrolled: Enrolled = { id: '', token: '' }

  constructor() {
    beforeEach(async () => {
      this.key = (await newTenant()).key
      this.enrolled = await enrol()
    })
    afterEach(() => ScriptedRunner.cutAll())
  }

  /** A runner with one sandbox, whose guest does as told. */
  async start(guest: Script['guest.request']): Promise<ScriptedRunner> {
    const runner = await ScriptedRunner.connect(this.enrolled, guest === undefined ? {} : { 'guest.request': guest })
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
