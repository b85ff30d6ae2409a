/** An OCI layout of our own around an image's plain tars. */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { digestOf } from './manifest.ts'
import { hexOf } from './step.ts'

/** Nothing that a stranger wrote but the layers reaches umoci. */
export async function writeLayout(folder: string, diffIds: readonly string[], sizes: readonly number[]): Promise<void> {
  const blob = async (value: object) => {
    const text = JSON.stringify(value)
    const digest = digestOf(text)
    await writeFile(join(folder, 'blobs', 'sha256', hexOf(digest)), text)
    return { digest, size: Buffer.byteLength(text) }
  }
  const config = await blob({
    architecture: 'amd64',
    os: 'linux',
    config: {},
    rootfs: { type: 'layers', diff_ids: diffIds },
  })
  const type = (name: string) => ({ mediaType: `application/vnd.oci.image.${name}` })
  const layers = diffIds.map((digest, at) => ({ ...type('layer.v1.tar'), digest, size: sizes[at] ?? 0 }))
  const manifest = await blob({
    schemaVersion: 2,
    ...type('manifest.v1+json'),
    config: { ...type('config.v1+json'), ...config },
    layers,
  })
  const annotations = { 'org.opencontainers.image.ref.name': 'image' }
  const index = { schemaVersion: 2, manifests: [{ ...type('manifest.v1+json'), ...manifest, annotations }] }
  await writeFile(join(folder, 'index.json'), JSON.stringify(index))
  await writeFile(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
}
