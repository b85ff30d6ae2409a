/**
 * `state.json` of a machine: what a restarted runner must know to find it again. Written by the runner alone, by atomic rename, in a folder that the
 * machine's user cannot reach.
 */

import { readFile, rename, writeFile } from 'node:fs/promises'
import { z } from 'zod'

const processIdentity = z.object({ pid: z.int().positive(), startTicks: z.int().nonnegative() })

export const vmState = z.object({
  schema: z.literal(2),
  id: z.string(),
  slot: z.int().nonnegative(),
  /** The host's boot during which the process was started: a process number means nothing in another. */
  bootId: z.string(),
  qemu: processIdentity,
  versions: z.object({ accelerator: z.enum(['kvm', 'tcg']), qemu: z.string(), cpu: z.string() }),
  shape: z.object({
    image: z.object({ name: z.string(), digest: z.string() }),
    kernel: z.string(),
    agent: z.string(),
    vcpus: z.int(),
    memoryMib: z.int(),
    diskMib: z.int(),
  }),
  startedAt: z.string(),
})
export type VmState = z.infer<typeof vmState>

export async function writeState(file: string, state: VmState): Promise<void> {
  const temporary = `${file}.new`
  await writeFile(temporary, `${JSON.stringify(state)}\n`, { mode: 0o600 })
  await rename(temporary, file)
}

/** Undefined if the file is missing or is not one of ours. */
export async function readState(file: string): Promise<VmState | undefined> {
  try {
    return vmState.parse(JSON.parse(await readFile(file, 'utf8')))
  } catch {
    return undefined
  }
}
