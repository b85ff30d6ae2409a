/** What a proof about images and iii is. */

import type { IiiCalls } from '../conformance/iii-client.ts'
import type { ImagePlatform } from '../kit/image-platform.ts'
import type { Proof as ProofOn, Stage } from '../kit/proofs.ts'
import type { Relay } from '../kit/relay.ts'

export { atMost, exactly, type Finding, shown, told } from '../kit/findings.ts'

export interface Scene extends Stage {
  readonly registry: ImagePlatform['registry']
  /** The unmodified `iii-sdk`, all of whose connections go through `relay`. */
  readonly calls: IiiCalls
  readonly relay: Relay
}
export type Proof = ProofOn<Scene>

/** One shape for all, so that an image's first sandbox alone takes a boot. */
export const shape = { vcpus: 1, memMiB: 512 } as const

/** The value below which half of the samples lie. */
export function median(samples: readonly number[]): number {
  return samples.toSorted((a, b) => a - b)[Math.floor(samples.length / 2)] ?? Number.NaN
}

/** Milliseconds that something takes. */
export async function timed(run: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await run()
  return performance.now() - start
}
