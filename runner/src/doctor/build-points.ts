/** What set-up must have built, and what it is worth on this host. */

import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { type Assets, loadAssets } from '../assets.ts'
import { toolArguments } from '../jail.ts'
import { run } from '../process/run.ts'
import { bad, good, type Point } from './point.ts'

const setUp = 'Run the set-up: npm run setup'
const toolLimitMs = 10_000

/** The assets, if they can be used, and a point for each of them. */
export async function buildPoints(assetsFile: string): Promise<{ assets?: Assets; points: Point[] }> {
  try {
    const assets = await loadAssets(assetsFile)
    const points = [
      await filePoint('qemu', join(assets.vmmRoot, 'usr/bin/qemu-system-x86_64'), assets.qemuVersion),
      await filePoint('kernel', assets.kernel, assets.kernelVersion),
      await filePoint('agent', assets.initramfs, assets.agentVersion),
      ...(await imagePoints(assets)),
    ]
    return points.every(({ ok }) => ok) ? { assets, points } : { points }
  } catch {
    return { points: [bad('build', 'what set-up builds is not there', setUp)] }
  }
}

/** Whether a jail can be made: the namespaces may exist and still be refused. */
export async function jailPoint(assets: Assets, folder: string): Promise<Point> {
  const args = toolArguments(assets.vmmRoot, folder, ['/usr/bin/true'])
  const result = await run('bwrap', args, { limitMs: toolLimitMs }).catch(() => undefined)
  if (result?.code === 0) return good('jail', 'a jail can be made')
  return bad(
    'jail',
    'a jail cannot be made',
    'Allow this process to make namespaces and mounts (a container may forbid it).',
  )
}

async function imagePoints(assets: Assets): Promise<Point[]> {
  const images = Object.entries(assets.images)
  if (images.length === 0) return [bad('images', 'there are none', setUp)]
  return await Promise.all(
    images.map(([name, { erofs, digest }]) =>
      filePoint(`image ${name}`, erofs, digest.slice(0, 'sha256:'.length + 12)),
    ),
  )
}

async function filePoint(name: string, file: string, detail: string): Promise<Point> {
  return await access(file).then(
    () => good(name, detail),
    () => bad(name, 'its file is gone', setUp),
  )
}
