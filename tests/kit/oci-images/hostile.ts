/** Images that a runner has to refuse, or that must reach nothing beyond their root. */

import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { gunzipSync } from 'node:zlib'
import { cachedLayer, imageOf, layerOf, type OciImage } from './image.ts'
import { tarOf } from './tar.ts'

export const hostileKinds = [
  'escape',
  'hard-link-escape',
  'link-escape',
  'sparse',
  'broken-gzip',
  'wrong-layer',
  'wrong-digest',
  'wrong-architecture',
  'bomb',
] as const
export type HostileKind = (typeof hostileKinds)[number]

/**
 * An image of this kind. `link-escape` is the one that may be pulled: it writes through an absolute link and through one that climbs, to `/outside/written`
 * and `/tmp/portico-outside`, which have to lie in its own root then. `bomb` is 1 GiB of zeros in a megabyte; `sparse` a file that claims 8 TiB.
 */
export async function hostileImage(kind: HostileKind): Promise<OciImage> {
  return await makers[kind]()
}

const good = async () => await layerOf([{ path: 'file', content: 'good\n' }])

const makers: Readonly<Record<HostileKind, () => Promise<OciImage>>> = {
  escape: async () => imageOf([await good(), await layerOf([{ path: '../../escaped', content: 'escaped\n' }])]),
  'hard-link-escape': async () =>
    imageOf([await layerOf([{ path: 'link', type: '1', link: '../../../../../../../../etc/hostname' }])]),
  'link-escape': async () =>
    imageOf([
      await layerOf([
        { path: 'outside', type: '2', link: '/tmp' },
        { path: 'climbs', type: '2', link: '../../../../../../../../../../tmp' },
      ]),
      await layerOf([
        { path: 'outside/portico-outside', content: 'written\n' },
        { path: 'climbs/portico-climbed', content: 'written\n' },
      ]),
    ]),
  sparse: async () => imageOf([await layerOf([{ path: 'huge', type: 'S', claims: 0 }])]),
  'broken-gzip': async () => {
    const layer = await good()
    const bytes = await readFile(layer.file)
    const file = `${layer.file}-broken`
    const broken = Buffer.concat([bytes.subarray(0, 20), Buffer.alloc(20, 0x55), bytes.subarray(40)])
    await writeFile(file, broken)
    const digest = `sha256:${createHash('sha256').update(broken).digest('hex')}`
    return imageOf([{ ...layer, file, digest, size: broken.length }])
  },
  'wrong-layer': async () => {
    const layer = await good()
    const other = createHash('sha256')
      .update(gunzipSync(await readFile(layer.file)))
      .update('other')
      .digest('hex')
    return imageOf([{ ...layer, diffId: `sha256:${other}` }])
  },
  'wrong-digest': async () => {
    const layer = await layerOf([{ path: 'file', content: 'changed on its way\n' }])
    return { ...imageOf([layer]), tampered: layer.digest }
  },
  'wrong-architecture': async () => imageOf([await good()], { architecture: 'arm64' }),
  bomb: async () => imageOf([await cachedLayer('bomb', 'gzip', () => bomb(1 << 30))]),
}

function* bomb(bytes: number): Generator<Uint8Array> {
  yield tarOf([{ path: 'zeros', claims: bytes }]).next().value as Uint8Array
  const zeros = new Uint8Array(1 << 20)
  for (let at = 0; at < bytes; at += zeros.length) yield zeros
  yield new Uint8Array(1024)
}
