/**
 * Images for tests, made from what is at hand: the preset images' files, Debian packages and what the test writes. What takes time is made once on a host
 * and then found.
 */

import { execFile, spawn } from 'node:child_process'
import { createCipheriv, createHash } from 'node:crypto'
import { mkdtemp, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { promisify } from 'node:util'
import { paths } from '@portico/deploy/checkout'
import { cachedLayer, type ImageSettings, imageOf, layerOf, type OciImage, type OciLayer, ociFolder } from './image.ts'
import { debianPackage, npmPackage } from './packages.ts'
import { removeFolder } from './remove.ts'
import { type TarEntry, tarOf } from './tar.ts'

export { type HostileKind, hostileImage, hostileKinds } from './hostile.ts'
export { type ImageSettings, imageOf, layerOf, type OciImage, type OciLayer } from './image.ts'
export { oddImage } from './odd.ts'

const execute = promisify(execFile)
const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** Debian with Python, glibc, as `python:3.12-slim` is: the preset's files in one layer and `/app/main.py`, which prints `hello from the image`, in another. */
export async function pythonImage(settings: ImageSettings = {}): Promise<OciImage> {
  const app = await layerOf([
    { path: 'app/', type: '5' },
    { path: 'app/main.py', content: 'print("hello from the image")\n' },
  ])
  const env = [path, 'LANG=C.UTF-8', 'FROM_IMAGE=yes']
  return imageOf([await presetLayer('python'), app], { env, workdir: '/app', cmd: ['python3'], ...settings })
}

/** Debian with Node, likewise, and `/app/main.js`. */
export async function nodeImage(settings: ImageSettings = {}): Promise<OciImage> {
  const app = await layerOf([
    { path: 'app/', type: '5' },
    { path: 'app/main.js', content: 'console.log("hello from the image")\n' },
  ])
  const env = [path, 'FROM_IMAGE=yes']
  return imageOf([await presetLayer('node'), app], { env, workdir: '/app', cmd: ['node'], ...settings })
}

/**
 * musl and busybox alone, a few MB, as `alpine` is: every program is busybox but `/usr/bin/musl-program`, which is dynamically linked against musl (a
 * compiler of style sheets: `musl-program --version` prints `1.105.0`). There is no glibc, no bash. Users root and `app` (1000).
 */
export async function alpineImage(settings: ImageSettings = {}): Promise<OciImage> {
  return imageOf([await alpineLayer()], { env: [path], workdir: '/', cmd: ['/bin/sh'], ...settings })
}

/** `alpineImage` and a file of that many bytes that do not compress, at `/large`. */
export async function largeImage(bytes: number, settings: ImageSettings = {}): Promise<OciImage> {
  const layer = await cachedLayer(`large-${bytes}`, 'gzip', () => largeTar(bytes))
  return imageOf([await alpineLayer(), layer], { env: [path], ...settings })
}

async function presetLayer(name: 'python' | 'node'): Promise<OciLayer> {
  const assets = JSON.parse(await readFile(paths.assets, 'utf8')) as {
    images: Record<string, { erofs: string; digest: string }>
  }
  const preset = assets.images[name]
  if (!preset) throw new Error(`cannot make an image of the preset ${name}: set-up did not build it`)
  return await cachedLayer(`${name}-${preset.digest.slice(7, 23)}`, 'gzip', () => presetTar(preset.erofs))
}

/** The tar of a preset's files. Without root its owners would be lost, and so would be the point. */
async function* presetTar(erofs: string): AsyncGenerator<Uint8Array> {
  const work = await mkdtemp(join(ociFolder, 'preset-'))
  try {
    await execute('fsck.erofs', [`--extract=${join(work, 'root')}`, '--overwrite', erofs], { timeout: 120_000 })
    yield* folderTar(join(work, 'root'))
  } finally {
    await removeFolder(work)
  }
}

async function* folderTar(folder: string): AsyncGenerator<Uint8Array> {
  const args = ['--create', '--format=pax', '--numeric-owner', '--sort=name', '--xattrs', '--directory', folder, '.']
  const tar = spawn('tar', args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise<number | null>((resolve) => tar.once('close', resolve))
  yield* tar.stdout as Readable & AsyncIterable<Uint8Array>
  if ((await ended) !== 0) throw new Error(`cannot read ${folder}: tar failed`)
}

const sassVersion = '1.105.0'
const sassSha512 = 'Pk5WXQyg3lsklItY69qL39j7Nzm8T/W9Cm2jho2h/ZSH0NDxNoDBlKunxiCOdjPEQMhtzXhI0KQN3wgkbfPlWg=='

async function alpineLayer(): Promise<OciLayer> {
  return await cachedLayer(`alpine-1-${sassVersion}`, 'gzip', async function* () {
    yield* tarOf(await alpineEntries())
  })
}

async function alpineEntries(): Promise<TarEntry[]> {
  const [busybox, musl, sass] = await Promise.all([
    debianPackage('busybox-static'),
    debianPackage('musl'),
    npmPackage('sass-embedded-linux-musl-x64', sassVersion, sassSha512),
  ])
  const { stdout } = await execute(join(busybox, 'bin/busybox'), ['--list'])
  const program = async (inside: string, file: string) => ({ path: inside, mode: 0o755, content: await readFile(file) })
  const folder = (inside: string, mode = 0o755): TarEntry => ({ path: inside, type: '5', mode })
  const script = '#!/bin/sh\nexec /usr/lib/dart-sass/dart /usr/lib/dart-sass/sass.snapshot "$@"\n'
  return [
    ...['bin/', 'dev/', 'etc/', 'home/', 'lib/', 'proc/', 'run/', 'sys/', 'usr/', 'usr/bin/', 'usr/lib/', 'var/'].map(
      (name) => folder(name),
    ),
    ...['root/', 'usr/lib/dart-sass/'].map((name) => folder(name, 0o700 | (name === 'root/' ? 0 : 0o55))),
    folder('tmp/', 0o1777),
    { path: 'home/app/', type: '5', owner: [1000, 1000] },
    await program('bin/busybox', join(busybox, 'bin/busybox')),
    ...stdout
      .split('\n')
      .filter((name) => name !== '' && name !== 'busybox')
      .map((name): TarEntry => ({ path: `bin/${name}`, type: '2', link: 'busybox' })),
    await program('lib/ld-musl-x86_64.so.1', join(musl, 'lib/x86_64-linux-musl/libc.so')),
    { path: 'lib/libc.musl-x86_64.so.1', type: '2', link: 'ld-musl-x86_64.so.1' },
    await program('usr/lib/dart-sass/dart', join(sass, 'dart-sass/src/dart')),
    await program('usr/lib/dart-sass/sass.snapshot', join(sass, 'dart-sass/src/sass.snapshot')),
    { path: 'usr/bin/musl-program', mode: 0o755, content: script },
    { path: 'etc/passwd', content: 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n' },
    { path: 'etc/group', content: 'root:x:0:\napp:x:1000:\n' },
    { path: 'etc/os-release', content: 'ID=small\nNAME="Small"\nVERSION_ID=1\n' },
  ]
}

/** Bytes that look random and are the same each time. */
function* largeTar(bytes: number): Generator<Uint8Array> {
  const tar = tarOf([{ path: 'large', claims: bytes }])
  yield tar.next().value as Uint8Array
  for (let at = 0; at < bytes; at += 1 << 20) {
    const seed = createHash('sha256').update(String(at)).digest()
    yield keystream(seed, Math.min(1 << 20, bytes - at))
  }
  yield new Uint8Array(((512 - (bytes % 512)) % 512) + 1024)
}

function keystream(seed: Buffer, bytes: number): Uint8Array {
  const cipher = createCipheriv('aes-256-ctr', seed, Buffer.alloc(16))
  return cipher.update(Buffer.alloc(bytes))
}
