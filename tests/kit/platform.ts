/** A platform of its own for a test: real workerd, real runner, real virtual machines, and a folder that goes with it. */

import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { paths } from '@portico/deploy/checkout'
import { openPlatform, type Platform, type PlatformOptions } from '@portico/deploy/local'
import { Portico } from '@portico/sdk'
import { restartRunner } from './runner.ts'
import { giveTemplates, keepTemplates } from './templates.ts'

export interface TestPlatform {
  readonly platform: Platform
  readonly portico: Portico
  /** What the parts printed, for a test that failed. */
  readonly log: () => string
  /** One call of the API with the account's key, unless told otherwise. */
  call(path: string, init?: RequestInit & { key?: string }): Promise<Response>
  /** Ends its runner by a signal and starts it again on its state; resolves once the front door has seen both. For a platform of one runner. */
  restartRunner(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** Opens one. If the test's file failed and PORTICO_TEST_LOG is set, closing prints what the parts printed. */
export async function testPlatform(options: Partial<PlatformOptions> = {}): Promise<TestPlatform> {
  await mkdir(paths.temporary, { recursive: true })
  const stateDir = await mkdtemp(join(paths.temporary, 'test-'))
  const printed: string[] = []
  let platform: Platform
  try {
    platform = await openPlatform({ stateDir, log: (text) => printed.push(text), ...options })
    for (const runner of platform.fleet) await giveTemplates(runner.stateDir)
  } catch (error) {
    await rm(stateDir, { recursive: true, force: true })
    throw new Error(`${String(error)}\n${printed.join('').slice(-8000)}`)
  }
  return {
    platform,
    portico: new Portico({ baseUrl: platform.url, apiKey: platform.apiKey }),
    log: () => printed.join(''),
    call: (path, { key = platform.apiKey, ...init } = {}) => {
      const headers = new Headers(init.headers)
      if (key !== '') headers.set('authorization', `Bearer ${key}`)
      return fetch(platform.url + path, { ...init, headers })
    },
    restartRunner: (signal) => restartRunner(platform, signal),
    async [Symbol.asyncDispose]() {
      await platform.close()
      for (const runner of platform.fleet) await keepTemplates(runner.stateDir)
      await rm(stateDir, { recursive: true, force: true })
      if (process.env.PORTICO_TEST_LOG) process.stderr.write(printed.join(''))
    },
  }
}
