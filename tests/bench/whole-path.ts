/** Sandboxes reached as a user reaches them: HTTP, Worker, tunnel, VM. */

import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { paths } from '@portico/deploy/checkout'
import { openPlatform } from '@portico/deploy/local'
import { Portico, type Sandbox } from '@portico/sdk'

/** Runs with a platform of its own, gone afterwards. */
export async function withPlatform<Value>(run: (portico: Portico) => Promise<Value>): Promise<Value> {
  await mkdir(paths.temporary, { recursive: true })
  const stateDir = await mkdtemp(join(paths.temporary, 'bench-'))
  try {
    const platform = await openPlatform({ stateDir })
    try {
      return await run(new Portico({ baseUrl: platform.url, apiKey: platform.apiKey }))
    } finally {
      await platform.close()
    }
  } finally {
    await rm(stateDir, { recursive: true, force: true })
  }
}

/** Runs with one sandbox on such a platform. */
export function withSandbox<Value>(run: (sandbox: Sandbox) => Promise<Value>): Promise<Value> {
  return withPlatform(async (portico) => {
    await using sandbox = await portico.create({ image: 'python', timeoutSec: 0 })
    return await run(sandbox)
  })
}
