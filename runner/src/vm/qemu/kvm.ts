/**
 * Whether machines run on KVM or by emulation. Looking for `/dev/kvm` is not enough: on some hosts it opens and makes machines whose processor never
 * starts. So it is decided by booting the agent once, with a short limit. The verdict is kept with the host's boot, QEMU and kernel that it holds for.
 */

import { access, constants, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { AppError } from '@portico/shared/errors'
import { z } from 'zod'
import type { Accelerator } from '../driver.ts'

const verdictSchema = z.object({
  schema: z.literal(1),
  bootId: z.string(),
  qemuVersion: z.string(),
  kernelVersion: z.string(),
  usable: z.boolean(),
  reason: z.string(),
})
type StoredVerdict = z.infer<typeof verdictSchema>

/** What holds for this host, and why. */
export interface Verdict {
  readonly accelerator: Accelerator
  readonly reason: string
}

export interface KvmOptions {
  readonly asked: 'auto' | Accelerator
  /** What a verdict holds for. */
  readonly host: { readonly bootId: string; readonly qemuVersion: string; readonly kernelVersion: string }
  readonly verdictFile: string
  readonly device?: string
  /** Boots a machine under KVM until its agent speaks; rejects if it does not. */
  readonly tryBoot: () => Promise<void>
}

/** Decides; boots at most once per boot of the host. */
export async function decideAccelerator(options: KvmOptions): Promise<Verdict> {
  if (options.asked !== 'auto') return { accelerator: options.asked, reason: 'the configuration says so' }
  const closed = await whyClosed(options.device ?? '/dev/kvm')
  if (closed !== undefined) return { accelerator: 'tcg', reason: closed }
  const known = await readVerdict(options)
  const verdict = known ?? (await tryIt(options))
  return { accelerator: verdict.usable ? 'kvm' : 'tcg', reason: verdict.reason }
}

/** What was found out before for this boot of the host, without trying. */
export async function readVerdict({ verdictFile, host }: KvmOptions): Promise<StoredVerdict | undefined> {
  try {
    const stored = verdictSchema.parse(JSON.parse(await readFile(verdictFile, 'utf8')))
    const same =
      stored.bootId === host.bootId &&
      stored.qemuVersion === host.qemuVersion &&
      stored.kernelVersion === host.kernelVersion
    return same ? stored : undefined
  } catch {
    return undefined
  }
}

async function tryIt({ tryBoot, host, verdictFile }: KvmOptions): Promise<StoredVerdict> {
  const result = await tryBoot().then(
    () => ({ usable: true, reason: 'a machine booted under KVM' }),
    (error: unknown) => ({
      usable: false,
      reason: `a machine did not boot under KVM: ${AppError.from(error).message}`,
    }),
  )
  const verdict: StoredVerdict = { schema: 1, ...host, ...result }
  await keep(verdictFile, verdict)
  return verdict
}

/** Where the folder cannot be written, as for a runner without root, it is tried again next time. */
async function keep(verdictFile: string, verdict: StoredVerdict): Promise<void> {
  const temporary = `${verdictFile}.${process.pid}`
  try {
    await writeFile(temporary, `${JSON.stringify(verdict)}\n`)
    await rename(temporary, verdictFile)
  } catch {
    await rm(temporary, { force: true }).catch(() => undefined)
  }
}

async function whyClosed(device: string): Promise<string | undefined> {
  try {
    await access(device, constants.R_OK | constants.W_OK)
    return undefined
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    return missing ? `there is no ${device}` : `${device} may not be opened`
  }
}
