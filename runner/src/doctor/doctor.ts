/** `doctor`: what this host has and lacks for running sandboxes, and how to mend each point. Exit code 1 if something required is missing. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AppError } from '@portico/shared/errors'
import type { Assets } from '../assets.ts'
import { type EngineConfig, engineConfig, loadConfig } from '../config.ts'
import { silentLog } from '../log.ts'
import { probeAccelerator } from '../vm/qemu/open.ts'
import { buildPoints, jailPoint } from './build-points.ts'
import { hostPoints } from './host-points.ts'
import { bad, good, type Point, report } from './point.ts'

export interface DoctorOptions {
  readonly config: string | undefined
  readonly json: boolean
}

export async function doctor({ config: file, json }: DoctorOptions): Promise<number> {
  const config = await loadConfig(engineConfig, file, process.env)
  const points = await examine(config)
  const ok = points.every((point) => point.ok || !point.required)
  process.stdout.write(json ? `${JSON.stringify({ ok, points })}\n` : report(points))
  return ok ? 0 : 1
}

/** All points. Makes a temporary folder and removes it. */
export async function examine(config: EngineConfig): Promise<Point[]> {
  const host = await hostPoints({
    path: (process.env.PATH ?? '').split(':').concat('/usr/sbin', '/sbin'),
    procRoot: '/proc',
    sysRoot: '/sys',
    stateDir: config.stateDir,
    uid: process.getuid?.(),
    nodeVersion: process.version,
  })
  const { assets, points } = await buildPoints(config.assets)
  const folder = await mkdtemp(join(tmpdir(), 'portico-doctor-'))
  try {
    const machine = assets ? await machinePoints(config, assets, folder) : []
    return [...host, ...points, ...machine]
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function machinePoints(config: EngineConfig, assets: Assets, folder: string): Promise<Point[]> {
  const jail = await jailPoint(assets, folder)
  if (!jail.ok) return [jail]
  return [jail, await kvmPoint({ ...config, stateDir: join(folder, 'state') })]
}

const slower = 'Sandboxes run by emulation: all works, computing is some 20 times slower. Use a host with KVM for more.'

async function kvmPoint(config: EngineConfig): Promise<Point> {
  try {
    const { accelerator, reason } = await probeAccelerator({ ...config, accelerator: 'auto' }, silentLog())
    return accelerator === 'kvm' ? good('kvm', reason, false) : bad('kvm', reason, slower, false)
  } catch (error) {
    return bad('kvm', AppError.from(error).message, slower, false)
  }
}
