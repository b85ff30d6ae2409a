/**
 * Takes a machine over that an earlier process of the runner started. QEMU's sockets accept whoever comes next, and QEMU itself is asked what the disk
 * looks like, so a runner that died in the middle of a capture leaves nothing that has to be guessed.
 */

import { rm } from 'node:fs/promises'
import { Cleanup, deadline } from '@portico/shared/dispose'
import { AppError } from '@portico/shared/errors'
import type { ScratchDisks } from '../../disk/scratch.ts'
import { diskName, type StatePaths, type VmPaths } from '../../paths.ts'
import { Proc } from '../../process/proc.ts'
import type { VmSpec } from '../driver.ts'
import type { StateVersions } from '../machine-state.ts'
import { readState, type VmState } from '../state-file.ts'
import { AdoptedProcess } from './adopted-process.ts'
import { nodes } from './args/command-line.ts'
import { Console } from './console.ts'
import { chainNodes, DiskChain, keepLayer, type Layer, scratchDevice } from './disk-chain.ts'
import { endProcesses } from './found.ts'
import { QemuMachine } from './machine.ts'
import { Qmp } from './qmp.ts'
import { connectWhenReady } from './socket.ts'

export interface AdoptOptions {
  readonly paths: StatePaths
  readonly disks: ScratchDisks
  readonly instance: string
  readonly versions: StateVersions
  readonly bootId: string
  readonly firstUid: number | undefined
}

const adoptLimitMs = 5000

/** The machine, paused or running as it is. Rejects if it cannot be controlled any more; its process is then left as it was. */
export async function adopt(id: string, options: AdoptOptions, caller: AbortSignal): Promise<QemuMachine> {
  using signal = deadline(adoptLimitMs, 'take the virtual machine over', caller)
  const paths = options.paths.vm(id)
  const state = await readState(paths.state)
  if (!state || state.bootId !== options.bootId || !(await new Proc().runs(state.qemu))) throw gone()
  const cleanup = new Cleanup()
  const process = new AdoptedProcess(state.qemu)
  const machine = machineOf(state, paths, options, process, cleanup)
  const qmp = await Qmp.open(await connectWhenReady(paths.qmp, signal), { onEvent: (event) => machine.onEvent(event) })
  try {
    void qmp.closed.then((error) => error && process.kill().catch(() => undefined))
    const uid = options.firstUid === undefined ? undefined : options.firstUid + state.slot
    const chain = await chainOf(qmp, paths, uid, (file) => options.disks.create(state.shape.diskMib, file, uid))
    const console = new Console(await connectWhenReady(paths.console, signal))
    const { running } = (await qmp.execute('query-status')) as { running: boolean }
    cleanup.add('the folder', () => rm(paths.folder, { recursive: true, force: true }))
    cleanup.add('the process', () => endProcesses(id, options))
    cleanup.add('the machine', () => process.kill())
    cleanup.add('the control socket', () => qmp.close())
    cleanup.add('the console', () => console.close())
    machine.attach({ qmp, console, chain, running })
    return machine
  } catch (error) {
    qmp.close()
    throw error
  }
}

function machineOf(
  state: VmState,
  paths: VmPaths,
  { paths: allPaths }: AdoptOptions,
  process: AdoptedProcess,
  cleanup: Cleanup,
): QemuMachine {
  const { id, slot, shape, versions } = state
  const { vcpus, memoryMib, diskMib } = shape
  const spec: VmSpec = { id, slot, image: shape.image.name, vcpus, memoryMib, diskMib }
  return new QemuMachine({ spec, paths, allPaths, process, cleanup, versions, shape, ownMemory: false })
}

/** The disk as QEMU has it; a layer that was frozen and not yet put away is put away now. A merge under way is given up. */
async function chainOf(
  qmp: Qmp,
  paths: VmPaths,
  uid: number | undefined,
  create: (file: string) => Promise<void>,
): Promise<DiskChain> {
  for (const { device } of (await qmp.execute('query-block-jobs')) as { device: string }[])
    await qmp.execute('block-job-cancel', { device, force: true })
  const [topName, ...names] = await chainNodes(qmp, scratchDevice)
  const top = diskNumber(topName)
  if (top === undefined) throw gone()
  const below: Layer[] = []
  for (const node of names.reverse()) below.push(await layerOf(node, paths, uid))
  // One that was prepared and never used.
  await qmp.execute('blockdev-del', { 'node-name': nodes.disk(top + 1) }).catch(() => undefined)
  return new DiskChain({ qmp, paths, uid, below, top, create })
}

async function layerOf(node: string, paths: VmPaths, uid: number | undefined): Promise<Layer> {
  const number = diskNumber(node)
  if (number !== undefined) {
    await keepLayer({ paths, uid }, number)
    return { node, name: diskName(number), format: 'qcow2' }
  }
  const name = /^layer-(\d+)$/.exec(node)?.[1]
  if (name === undefined) throw gone()
  return { node, name, format: name === '0' ? 'raw' : 'qcow2' }
}

function diskNumber(node: string | undefined): number | undefined {
  const digits = /^disk-(\d+)$/.exec(node ?? '')?.[1]
  return digits === undefined ? undefined : Number(digits)
}

function gone(): AppError {
  return new AppError('guest_disconnected', 'cannot take the virtual machine over: it is gone')
}
