/** Sandboxes reached as a user reaches them: HTTP, Worker, tunnel, VM. */

import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { paths } from '@portico/deploy/checkout'
import { openPlatform, type Platform } from '@portico/deploy/local'
import { Portico, type Sandbox } from '@portico/sdk'

/** Runs with a platform of its own, gone afterwards. */
export async function withPlatform<Value>(
  run: (portico: Portico, platform: Platform) => Promise<Value>,
): Promise<Value> {
  await mkdir(paths.temporary, { recursive: true })
  const stateDir = await mkdtemp(join(paths.temporary, 'bench-'))
  try {
    const platform = await openPlatform({ stateDir })
    try {
      return await run(new Portico({ baseUrl: platform.url, apiKey: platform.apiKey }), platform)
    } finally {
      await platform.close()
    }
  } finally {
    await rm(stateDir, { recursive: true, force: true })
  }
}

/** Runs with one sandbox on such a platform. */
export function withSandbox<Value>(run: (sandbox: Sandbox) => Promise<Value>): Promise<Value> {
  return withConnection(({ sandbox }) => run(sandbox))
}

/** Runs with one sandbox and what is needed to reach it without the SDK. */
export function withConnection<Value>(
  run: (reached: { sandbox: Sandbox; url: string; apiKey: string }) => Promise<Value>,
): Promise<Value> {
  return withPlatform(async (portico, { url, apiKey }) => {
    await using sandbox = await portico.create({ image: 'python', timeoutSec: 0 })
    return await run({ sandbox, url, apiKey })
  })
}
