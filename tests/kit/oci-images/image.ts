/** An image before it is pushed: layers as files, a config, a manifest. */

import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough, Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { constants, createGzip, createZstdCompress } from 'node:zlib'
import { home } from '@portico/deploy/checkout'
import { type TarEntry, tarOf } from './tar.ts'

export interface ImageSettings {
  readonly env?: readonly string[]
  readonly workdir?: string
  readonly user?: string
  readonly entrypoint?: readonly string[]
  readonly cmd?: readonly string[]
  readonly architecture?: string
}

export interface OciLayer {
  /** As it goes over the wire. */
  readonly file: string
  readonly digest: string
  readonly size: number
  /** Of the plain tar. */
  readonly diffId: string
  readonly mediaType: string
}

export interface OciImage {
  readonly layers: readonly OciLayer[]
  readonly config: { readonly bytes: Uint8Array; readonly digest: string }
  readonly manifest: { readonly bytes: Uint8Array; readonly digest: string; readonly mediaType: string }
  /** Digest of a layer whose bytes the registry is to change after it took them. */
  readonly tampered?: string
}

/** Everything of these images that is made once on a host. */
export const ociFolder = join(home, 'cache', 'oci')

export type Compression = 'gzip' | 'zstd' | 'none'
const suffixes = { gzip: '+gzip', zstd: '+zstd', none: '' } as const

/** A layer of this name from the bytes of a tar, made once and then found. */
export async function cachedLayer(
  name: string,
  compression: Compression,
  tar: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<OciLayer> {
  const folder = join(ociFolder, 'layers')
  const notes = join(folder, `${name}.json`)
  const found = await readFile(notes, 'utf8').catch(() => undefined)
  if (found !== undefined) return JSON.parse(found) as OciLayer
  await mkdir(folder, { recursive: true })
  const work = await mkdtemp(join(folder, 'making-'))
  try {
    const made = await writeLayer(join(work, 'layer'), compression, tar())
    const layer = { ...made, file: join(folder, name) }
    await rename(made.file, layer.file)
    await writeFile(join(work, 'notes'), JSON.stringify(layer))
    await rename(join(work, 'notes'), notes)
    return layer
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** Writes a layer to `file`. */
async function writeLayer(
  file: string,
  compression: Compression,
  tar: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<OciLayer> {
  const plain = new Measure()
  const packed = new Measure()
  const packing = {
    gzip: () => createGzip({ level: 1 }),
    zstd: () => createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: 1 } }),
    none: () => new PassThrough(),
  }
  const source = Readable.from(tar, { objectMode: false })
  await pipeline(source, plain, packing[compression](), packed, createWriteStream(file))
  const { digest, size } = packed
  const mediaType = `application/vnd.oci.image.layer.v1.tar${suffixes[compression]}`
  return { file, digest, size, diffId: plain.digest, mediaType }
}

/** A layer of these entries. */
export async function layerOf(entries: readonly TarEntry[], compression: Compression = 'gzip'): Promise<OciLayer> {
  const tar = Buffer.concat([...tarOf(entries)])
  const name = `entries-${compression}-${createHash('sha256').update(tar).digest('hex').slice(0, 16)}`
  return await cachedLayer(name, compression, () => [tar])
}

/** Config and manifest around layers. */
export function imageOf(layers: readonly OciLayer[], settings: ImageSettings = {}): OciImage {
  const { env, workdir, user, entrypoint, cmd, architecture = 'amd64' } = settings
  const config = sealed({
    architecture,
    os: 'linux',
    config: {
      ...(env ? { Env: env } : {}),
      ...(workdir === undefined ? {} : { WorkingDir: workdir }),
      ...(user === undefined ? {} : { User: user }),
      ...(entrypoint ? { Entrypoint: entrypoint } : {}),
      ...(cmd ? { Cmd: cmd } : {}),
    },
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
  })
  const mediaType = 'application/vnd.oci.image.manifest.v1+json'
  const manifest = sealed({
    schemaVersion: 2,
    mediaType,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: config.digest, size: config.bytes.length },
    layers: layers.map((layer) => ({ mediaType: layer.mediaType, digest: layer.digest, size: layer.size })),
  })
  return { layers, config, manifest: { ...manifest, mediaType } }
}

export function sealed(value: object): { bytes: Uint8Array; digest: string } {
  const bytes = Buffer.from(JSON.stringify(value))
  return { bytes, digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}` }
}

/** Lets bytes pass and says afterwards what they were. */
class Measure extends Transform {
  readonly #hash = createHash('sha256')
  size = 0

  get digest(): string {
    return `sha256:${this.#hash.copy().digest('hex')}`
  }

  override _transform(chunk: Buffer, _encoding: string, done: (error: null, chunk: Buffer) => void): void {
    this.#hash.update(chunk)
    this.size += chunk.length
    done(null, chunk)
  }
}
