/** A sandbox of an engine in this process, as the keeper needs it. */

import type { Engine } from '@portico/runner/engine'
import { execute } from '../bench/guest-calls.ts'
import type { Guest } from './keeper.ts'

const limitMs = 120_000

export function engineGuest(engine: Engine, id: string, generation = 1): Guest {
  return {
    async run(shell) {
      return (await execute((asked) => engine.request(id, generation, asked), { shell }, limitMs)).stdout
    },
    async put(path, content) {
      const signal = AbortSignal.timeout(limitMs)
      const asked = { method: 'PUT', path: `/files?path=${encodeURIComponent(path)}`, body: content, signal }
      const { status, body } = await engine.request(id, generation, asked)
      for await (const _ of body);
      if (status !== 200) throw new Error(`cannot write ${path} in the sandbox: its agent answered ${status}`)
    },
  }
}
