/** A sandbox reached as a user reaches it: HTTP, Worker, tunnel, VM. */

import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { paths } from '@portico/deploy/checkout'
import { openPlatform } from '@portico/deploy/local'
import { Portico, type Sandbox } from '@portico/sdk'

/** Runs with a sandbox on a platform of its own, both gone afterwards. */
export async function withSandbox<Value>(run: (sandbox: Sandbox) => Promise<Value>): Promise<Value> {
  const stateDir = await mkdtemp(join(paths.temporary, 'bench-'))
  try {
    const platform = await openPlatform({ stateDir })
    try {
      const portico = new Portico({ baseUrl: platform.url, apiKey: platform.apiKey })
      await using sandbox = await portico.create({ image: 'python', timeoutSec: 0 })
      return await run(sandbox)
    } finally {
      await platform.close()
    }
  } finally {
    await rm(stateDir, { recursive: true, force: true })
  }
}
