/** What a region gives to a sandbox whose creator says nothing, and which names it boots. */

import type { RunnerPolicy } from '@portico/shared/control'
import { imagesOf, policyOf } from '../../image/region.ts'
import type { InvocationContext } from '../context.ts'

export interface Defaults {
  readonly cpus: number
  readonly memoryMb: number
  readonly idleTimeoutSecs: number
  /** Whether the name may be booted. While no runner says what there is, everything passes: the create itself says then that no runner is there. */
  allows(image: string): boolean
}

type Asked = Pick<InvocationContext, 'objects' | 'services' | 'principal'>
type Catalog = RunnerPolicy['catalog']

export async function defaultsOf(context: Asked): Promise<Defaults> {
  const policy = await policyOf(context, context.principal.region)
  const names = new Set((await catalogOf(context)).map(({ name }) => name))
  const isKnown = policy !== null || names.size > 0
  return {
    cpus: policy?.default_cpus ?? 1,
    memoryMb: policy?.default_memory_mb ?? 512,
    idleTimeoutSecs: policy?.default_idle_timeout_secs ?? 300,
    allows: (image) => !isKnown || names.has(image),
  }
}

/** By name. Of runners without a policy: the presets that they list. */
export async function catalogOf(context: Asked): Promise<Catalog> {
  const { region } = context.principal
  const policy = await policyOf(context, region)
  if (policy !== null) return policy.catalog
  const images = await imagesOf(context, region)
  return presets.filter(({ name }) => images.includes(name))
}

/** Built with the platform, so no registry has them under another name. */
const presets: Catalog = [
  { name: 'node', oci_ref: 'node', kind: 'preset' },
  { name: 'python', oci_ref: 'python', kind: 'preset' },
]
