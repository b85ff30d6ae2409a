/** Facts of the host that the runner needs once. */

import { createHash, randomBytes } from 'node:crypto'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { base32 } from '@portico/shared/ids'

/** Half of `bogomips` is the time stamp counter's rate in MHz, on every processor with a constant one. */
export function parseTscKhz(cpuinfo: string): number {
  const bogomips = Number(/^bogomips\s*:\s*([0-9.]+)$/m.exec(cpuinfo)?.[1])
  return Number.isFinite(bogomips) && bogomips > 0 ? Math.round((bogomips / 2) * 1000) : defaultTscKhz
}

/** Any plausible rate keeps a guest's clock from waiting for a calibration; this one is that of most servers. */
const defaultTscKhz = 2_000_000

export async function tscKhz(): Promise<number> {
  return parseTscKhz(await readFile('/proc/cpuinfo', 'utf8'))
}

/** The random name of a state folder; made at the first call. */
export async function instanceName(file: string): Promise<string> {
  const known = (await readFile(file, 'utf8').catch(() => '')).trim()
  if (/^portico-[a-z2-7]{16}$/.test(known)) return known
  const made = `portico-${base32(randomBytes(10))}`
  await writeFile(`${file}.new`, `${made}\n`, { mode: 0o600 })
  await rename(`${file}.new`, file)
  return made
}

/**
 * The first of 1,024 user numbers for the machines of a state folder: above every range that distributions hand out, and different for two
 * runners on one host (as good as always).
 */
export function firstUid(instance: string): number {
  const hash = createHash('sha256').update(instance).digest().readUInt16BE(0)
  return uidFloor + hash * 1024
}

const uidFloor = 0x70000000

/** The processor as guests see it: the host's own under KVM, the same everywhere under emulation. */
export async function guestCpu(accelerator: 'kvm' | 'tcg', model: string): Promise<string> {
  if (accelerator === 'tcg') return model
  const cpuinfo = await readFile('/proc/cpuinfo', 'utf8')
  const fields = ['model name', 'stepping', 'flags'].map((name) => fieldOf(cpuinfo, name))
  return `${model} ${fields[0]} ${createHash('sha256').update(fields.join('\n')).digest('hex').slice(0, 16)}`
}

function fieldOf(cpuinfo: string, name: string): string {
  return new RegExp(`^${name}\\s*:\\s*(.*)$`, 'm').exec(cpuinfo)?.[1] ?? ''
}
