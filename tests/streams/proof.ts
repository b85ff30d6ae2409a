/** What a proof of the streams is: something that a real client does, with what it found. */

import type { Finding } from '../kit/findings.ts'
import type { TestPlatform } from '../kit/platform.ts'
import type { Relay } from '../kit/relay.ts'

export { atMost, exactly, type Finding, shown, told } from '../kit/findings.ts'

export interface Scene {
  readonly test: TestPlatform
  /** Between the runner and the front door. */
  readonly relay: Relay
  readonly say: (text: string) => void
}

export interface Proof {
  readonly name: string
  run(scene: Scene): Promise<Finding[]>
}
