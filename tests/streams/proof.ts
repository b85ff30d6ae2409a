/** What a proof of the streams is: something that a real client does, with what it found. */

import type { Proof as ProofOn, Stage } from '../kit/proofs.ts'
import type { Relay } from '../kit/relay.ts'

export { atMost, exactly, type Finding, shown, told } from '../kit/findings.ts'

export interface Scene extends Stage {
  /** Between the runner and the front door. */
  readonly relay: Relay
}

export type Proof = ProofOn<Scene>
