/** A sandbox of the wire server, made without the CLI. */

import type { WireServer } from '@portico/sdk/test-server'

export async function newSandbox(wire: WireServer): Promise<string> {
  const body = JSON.stringify({ image: 'python' })
  const headers = { authorization: `Bearer ${wire.apiKey}`, 'content-type': 'application/json' }
  const made = await fetch(`${wire.url}/v1/runs`, { method: 'POST', headers, body })
  return ((await made.json()) as { id: string }).id
}
