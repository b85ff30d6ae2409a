/** Calls to an agent, for the rows that measure below the front door. */

import type { GuestRequest, GuestResponse } from '@portico/runner/engine'

export type Ask = (asked: GuestRequest) => Promise<GuestResponse>

interface Executed {
  readonly exit_code: number
  readonly stdout: string
  readonly duration_ms: number
}

/** Runs a command in the guest, reading the whole answer. Throws if it does not exit with 0. */
export async function execute(
  ask: Ask,
  command: { argv: string[] } | { shell: string },
  timeoutMs = 120_000,
): Promise<Executed> {
  const body = Buffer.from(JSON.stringify({ ...command, timeout_ms: timeoutMs }))
  const response = await ask({
    method: 'POST',
    path: '/exec',
    headers: { 'content-type': 'application/json', 'content-length': String(body.length) },
    body: one(body),
    signal: AbortSignal.timeout(timeoutMs + 10_000),
  })
  const parts: Uint8Array[] = []
  for await (const part of response.body) parts.push(part)
  const result = JSON.parse(Buffer.concat(parts).toString()) as Executed
  if (result.exit_code !== 0)
    throw new Error(`cannot measure: ${JSON.stringify(command)} answered ${JSON.stringify(result)}`)
  return result
}

/** Milliseconds of one bare fork and exec of /bin/true in the guest, several samples: a shell that does nothing else, timed by itself. */
export async function forkExecSamples(ask: Ask, samples: number): Promise<number[]> {
  const rounds = 50
  const loop = `s=$(date +%s%N); i=0; while [ $i -lt ${rounds} ]; do /bin/true; i=$((i+1)); done; e=$(date +%s%N); echo $((e-s))`
  const found: number[] = []
  for (let n = 0; n < samples; n++) {
    const { stdout } = await execute(ask, { shell: loop })
    found.push(Number(stdout) / 1e6 / rounds)
  }
  return found
}

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}
