/** What a runner may give away: its configuration, bounded by its policy. */

import type { CapacityOptions } from '../capacity.ts'
import { type EngineConfig, maxVcpusOf } from '../config.ts'
import type { Policy } from './policy.ts'

/** `overheadMib` is what each machine takes beyond what its guest is given. */
export function roomOf(config: EngineConfig, policy: Policy | undefined, overheadMib: number): CapacityOptions {
  const { maxSandboxes, memoryMib } = config
  const most = policy?.max_concurrent_sandboxes ?? maxSandboxes
  return {
    slots: Math.min(maxSandboxes, most),
    ...(policy && most <= maxSandboxes ? { fullSlots: `max_concurrent_sandboxes (${most}) reached` } : {}),
    memoryMib,
    vcpus: maxVcpusOf(config),
    overheadMib,
  }
}
