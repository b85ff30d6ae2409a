/**
 * What a fake machine is made of when it is captured: real files, small ones. The guest's files are in the disk's top layer, its memory in the pages, and
 * the device file says whose they are, so that each part is needed for a restore and damage to any of them shows.
 */

import { link, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AppError } from '@portico/shared/errors'
import { z } from 'zod'
import { type PageSet, pageBytes } from '../../memory/page-set.ts'
import { chunkBytes } from '../../snapshot/chunk.ts'
import type { DiskLayer, MachineShape, MachineState, StateFile, StateVersions } from '../machine-state.ts'

/** What of a guest goes on in another machine. */
export interface GuestContents {
  readonly files: Readonly<Record<string, string>>
  readonly memory: string
  /** The token that its agent demands. */
  readonly token?: string | undefined
  /** It has not looked at its disk. */
  readonly waits?: boolean
}

const disk = z.record(z.string(), z.string())
const device = z.object({
  disk: z.string(),
  machine: z.string(),
  token: z.string().optional(),
  waits: z.boolean().optional(),
})

/** Pages that the base has. */
const basePages = 16

export interface CapturedMachine {
  /** Its name. */
  readonly machine: string
  readonly folder: string | undefined
  /** The memory it maps, if it was restored. */
  readonly base: string | undefined
  readonly versions: StateVersions
  readonly shape: MachineShape
  readonly contents: GuestContents
  readonly pages: 'memory' | 'file'
}

/** Writes the files of a captured machine into a folder of their own. */
export async function writeFakeState(captured: CapturedMachine): Promise<MachineState> {
  const folder = await temporaryFolder(captured.folder)
  const { files, memory, token, waits } = captured.contents
  const base = join(folder, 'base')
  if (captured.base) await link(captured.base, base)
  else await writeFile(base, Buffer.alloc(basePages * pageBytes, 'memory '))
  const layer = Buffer.from(JSON.stringify(files))
  await writeFile(join(folder, 'layer-0'), layer)
  await writeFile(
    join(folder, 'device'),
    JSON.stringify({ disk: String(layer.length), machine: captured.machine, token, waits }),
  )
  const bytes = pagesOf(memory)
  const pages = join(folder, 'pages')
  if (captured.pages === 'file') await writeFile(pages, bytes)
  return {
    versions: captured.versions,
    shape: captured.shape,
    base: await stateFile(base),
    device: await stateFile(join(folder, 'device')),
    pages: pageSet(bytes, captured.pages === 'file' ? pages : undefined),
    layers: [{ ...(await stateFile(join(folder, 'layer-0'))), format: 'raw' } satisfies DiskLayer],
    release: () => rm(folder, { recursive: true, force: true }),
  }
}

/** Writes the files of a guest as the only layer of a disk. */
export async function writeFakeDisk(file: string, files: GuestContents['files']): Promise<DiskLayer> {
  await writeFile(file, JSON.stringify(files))
  return { ...(await stateFile(file)), format: 'raw' }
}

/** What is read of a state: the guest, and the machine that it was captured in. */
export interface ReadState {
  readonly contents: GuestContents
  readonly machine: string
}

/** Reads a state as a machine that is restored from it does. */
export async function readFakeState(state: MachineState): Promise<ReadState> {
  try {
    const found = device.parse(JSON.parse(await readFile(state.device.file, 'utf8')))
    const top = await readFile(state.layers.at(-1)?.file ?? '', 'utf8')
    if (!found.waits && found.disk !== String(Buffer.byteLength(top)))
      throw new Error('the disk is not of this machine')
    const parts: Buffer[] = []
    for await (const chunk of state.pages.chunks()) parts.push(Buffer.from(chunk))
    const memory = Buffer.concat(parts)
    const text = memory.subarray(4, 4 + memory.readUInt32LE(0)).toString('utf8')
    return {
      contents: { files: disk.parse(JSON.parse(top)), memory: text, token: found.token, waits: found.waits ?? false },
      machine: found.machine,
    }
  } catch (cause) {
    throw new AppError('snapshot_damaged', 'cannot restore the virtual machine: its state cannot be read', { cause })
  }
}

/** A folder of its own for a machine or a captured state. */
export async function temporaryFolder(parent: string | undefined): Promise<string> {
  return await mkdtemp(join(parent ?? tmpdir(), 'portico-fake-'))
}

async function stateFile(file: string): Promise<StateFile> {
  return { file, bytes: (await stat(file)).size }
}

/** Its length and the text, filled up to whole pages. */
function pagesOf(memory: string): Buffer {
  const text = Buffer.from(memory)
  const bytes = Buffer.alloc(Math.ceil((text.length + 4) / pageBytes) * pageBytes)
  bytes.writeUInt32LE(text.length, 0)
  text.copy(bytes, 4)
  return bytes
}

function pageSet(bytes: Buffer, file: string | undefined): PageSet {
  return {
    runs: [{ first: 1, count: bytes.length / pageBytes }],
    bytes: bytes.length,
    ...(file === undefined ? {} : { file: { file, bytes: bytes.length } }),
    async *chunks() {
      const content = file === undefined ? bytes : await readFile(file)
      if (content.length < bytes.length) throw new Error('the pages end early')
      for (let at = 0; at < content.length; at += chunkBytes) yield content.subarray(at, at + chunkBytes)
    },
    release: () => undefined,
  }
}
