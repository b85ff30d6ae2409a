/** One account and one scripted runner that may come and go: what the tests of copies and of sleep start from. */

import { runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import type { RunRecord } from '@portico/shared/api'
import { afterEach, beforeEach, expect } from 'vitest'
import { answer, ask, newTenant, type Tenant } from './client.ts'
import { type Enrolled, enrol, type Script, ScriptedRunner } from './scripted-runner.ts'

/** Registers its own set-up and clean-up; what it holds is of the test that runs. */
export class RunnerScene {
  tenant: Tenant = { account: '', key: '' }
  enrolled: Enrolled = { id: '', token: '' }
  readonly #usual: Script

  /** `usual` is what the runner does unless a test says otherwise. */
  constructor(usual: Script = {}) {
    this.#usual = usual
    beforeEach(async () => {
      this.tenant = await newTenant()
      this.enrolled = await enrol()
    })
    afterEach(() => ScriptedRunner.cutAll())
  }

  /** The runner for the first time: it has nothing. */
  async connected(script: Script = {}): Promise<ScriptedRunner> {
    const runner = await this.back(script)
    await runner.report()
    return runner
  }

  /** The runner's tunnel anew. It has not reported yet. */
  back(script: Script = {}): Promise<ScriptedRunner> {
    return ScriptedRunner.connect(this.enrolled, { ...this.#usual, ...script })
  }

  created(json: object = {}): Promise<RunRecord> {
    return answer<RunRecord>('/v1/runs', { key: this.tenant.key, json: { image: 'python', mem_mib: 512, ...json } })
  }

  async listed(): Promise<RunRecord[]> {
    return (await answer<{ runs: RunRecord[] }>('/v1/runs', { key: this.tenant.key })).runs
  }

  record(id: string): Promise<RunRecord> {
    return answer<RunRecord>(`/v1/runs/${id}`, { key: this.tenant.key })
  }

  post(path: string, json?: object): Promise<Response> {
    const body = json === undefined ? {} : { json }
    return ask(`/v1/runs/${path}`, { method: 'POST', key: this.tenant.key, ...body })
  }
}

/** Sets off the alarm of a sandbox's object. */
export function alarmOf(sandbox: string): Promise<boolean> {
  return runDurableObjectAlarm(env.SANDBOXES.get(env.SANDBOXES.idFromName(sandbox)))
}

/** Lets a runner's object find that the runner has been away for longer than it may be. */
export async function awayForLong(runner: string): Promise<void> {
  const stub = env.RUNNERS.get(env.RUNNERS.idFromName(runner))
  await expect
    .poll(() => runInDurableObject(stub, (_object, { storage }) => storage.kv.get('away')))
    .toBeTypeOf('number')
  await runInDurableObject(stub, (_object, { storage }) => storage.kv.put('away', Date.now() - 31_000))
  await alarmsOf(runner)
}

/** Sets off a runner's alarm as often as there is something left to do. */
export async function alarmsOf(runner: string): Promise<void> {
  const stub = env.RUNNERS.get(env.RUNNERS.idFromName(runner))
  const due = () => runInDurableObject(stub, async (_object, { storage }) => (await storage.getAlarm()) ?? undefined)
  do await runDurableObjectAlarm(stub)
  while (((await due()) ?? Number.POSITIVE_INFINITY) <= Date.now())
}
