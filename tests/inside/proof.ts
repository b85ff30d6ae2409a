/** What a proof of the inside of sandboxes is. */

import type { CreateOptions, Sandbox } from '@portico/sdk'
import { InsideClient } from '../kit/inside-client.ts'
import type { Proof as ProofOn, Stage } from '../kit/proofs.ts'

export { atMost, exactly, type Finding, shown, told } from '../kit/findings.ts'

export type Scene = Stage
export type Proof = ProofOn<Scene>

/** Runs with a sandbox that is gone afterwards. */
export async function withSandbox<Value>(
  { test }: Scene,
  options: CreateOptions,
  run: (client: InsideClient, sandbox: Sandbox) => Promise<Value>,
): Promise<Value> {
  await using sandbox = await test.portico.create({ timeoutSec: 0, ...options })
  return await run(new InsideClient(test.platform, sandbox.id), sandbox)
}

/** Seconds with one digit. */
export function seconds(sinceMs: number): string {
  return `${((performance.now() - sinceMs) / 1000).toFixed(1)} s`
}
