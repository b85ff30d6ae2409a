/** Sandboxes come and go, and nothing of them stays on the host: no process, socket, mount or file. Counts what the whole host has, so nothing else may run meanwhile. */

import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { census, left } from '../kit/census.ts'
import { type TestPlatform, testPlatform } from '../kit/platform.ts'

describe('what sandboxes leave', () => {
  let platform: TestPlatform

  beforeAll(async () => {
    // What stands ready would count as left.
    platform = await testPlatform({ poolSize: 0 })
  })

  afterAll(async () => {
    await platform?.[Symbol.asyncDispose]()
  })

  /** Creates, runs and destroys one; the answer is what it printed. */
  async function createRunDestroy(image: string): Promise<string> {
    await using sandbox = await platform.portico.create({ image })
    return (await sandbox.exec('echo "$0 works"')).stdout
  }

  it('turns a sandbox whose virtual machine is killed into an error with a reason, and frees it', async () => {
    const before = await census()
    const sandbox = await platform.portico.create({ image: 'python' })
    const [vm] = (await census()).processes.filter(
      (name) => /qemu-system/.test(name) && !before.processes.includes(name),
    )
    expect(vm).toBeDefined()
    process.kill(Number(vm?.split(' ')[0]), 'SIGKILL')
    const limit = AbortSignal.timeout(20_000)
    for (;;) {
      const info = await sandbox.info()
      if (info.status === 'error') {
        expect(info.reason).toMatch(/virtual machine/)
        break
      }
      await wait(50, undefined, { signal: limit })
    }
    await expect(sandbox.exec('true')).rejects.toMatchObject({ retryable: false })
    await sandbox.destroy()
    expect((await census()).processes).toEqual(before.processes)
  })

  it('creates and destroys 20 in a row without a failure or a leak', { timeout: 400_000 }, async () => {
    const before = await census()
    for (let turn = 0; turn < 20; turn++)
      expect(await createRunDestroy(turn % 2 === 0 ? 'python' : 'node')).toContain('works')
    expect(left(before, await census())).toEqual({})
    expect(await platform.portico.list()).toEqual([])
  })

  it('creates and destroys 4 at once', { timeout: 200_000 }, async () => {
    const before = await census()
    const outputs = await Promise.all(['python', 'node', 'python', 'node'].map(createRunDestroy))
    expect(outputs).toHaveLength(4)
    for (const output of outputs) expect(output).toContain('works')
    expect(left(before, await census())).toEqual({})
  })
})
