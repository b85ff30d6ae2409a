/** A sandbox's id as Iris spells it: `sb_` and the 26 characters that follow `run` in ours. */

import { parseSandboxId, type SandboxId } from '@portico/shared/ids'

const prefix = 'sb_'
const ours = 'run'

export function toIrisId(sandbox: string): string {
  return `${prefix}${sandbox.slice(ours.length)}`
}

/** Our id, or undefined if the text is not one of Iris. */
export function fromIrisId(text: string): SandboxId | undefined {
  return text.startsWith(prefix) ? parseSandboxId(`${ours}${text.slice(prefix.length)}`) : undefined
}
