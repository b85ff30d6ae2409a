/** Asks registries and fetches from them: skopeo, in its jail, with the runner's credentials. */

import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { AppError } from '@portico/shared/errors'
import { run } from '../process/run.ts'
import { authInside, confinedArguments, workFolder } from './confined.ts'
import {
  type Config,
  chooseFromIndex,
  digestOf,
  type Manifest,
  readConfig,
  readManifest,
  unsuitable,
} from './manifest.ts'
import { formatReference, type Reference, resolvedName } from './reference.ts'
import { skopeoError } from './skopeo-errors.ts'
import type { ImageTools } from './tools.ts'
import { watchGrowth } from './watch.ts'

export interface SkopeoOptions {
  readonly tools: ImageTools
  readonly authFile?: string
  readonly insecureRegistries: readonly string[]
}

/** What a reference names now. */
export interface Resolved {
  /** `registry/path@sha256:…`. */
  readonly name: string
  readonly digest: string
  readonly manifest: Manifest
  readonly config: Config
}

const askLimitMs = 60_000
const fetchLimitMs = 60 * 60_000
const stallLimitMs = 90_000
const maxAnswer = 8 << 20
/** What skopeo writes beside the layers. */
const besides = 1 << 20

export class Skopeo {
  readonly #options: SkopeoOptions

  constructor(options: SkopeoOptions) {
    this.#options = options
  }

  /** The image for linux/amd64 that the reference names, asked of its registry. `folder` is for skopeo's own files. */
  async resolve(reference: Reference, folder: string, signal: AbortSignal): Promise<Resolved> {
    const what = formatReference(reference)
    // With tag and digest the digest counts; skopeo 1.9 takes no name that has both.
    const asked = reference.digest === undefined ? what : resolvedName(reference, reference.digest)
    const first = await this.#ask(reference, asked, [], folder, what, signal)
    if (reference.digest !== undefined && digestOf(first) !== reference.digest) throw wrongDigest(what)
    const chosen = chooseFromIndex(first, what)
    const digest = chosen ?? digestOf(first)
    const name = resolvedName(reference, digest)
    const text = chosen === undefined ? first : await this.#ask(reference, name, [], folder, what, signal)
    if (digestOf(text) !== digest) throw wrongDigest(what)
    const manifest = readManifest(text, what)
    const config = readConfig(await this.#ask(reference, name, ['--config'], folder, what, signal), manifest, what)
    return { name, digest, manifest, config }
  }

  /** Fetches manifest, config and layers into `folder/download`, each under the hex of its digest, checked. */
  async fetch(
    reference: Reference,
    resolved: Resolved,
    folder: string,
    signal: AbortSignal,
    onBytes: (bytes: number) => void,
  ): Promise<void> {
    const what = formatReference(reference)
    const { bytes } = resolved.manifest
    const download = join(folder, 'download')
    const args = [
      'copy',
      '--quiet',
      ...this.#source(reference, 'src-'),
      `docker://${resolved.name}`,
      `dir:${workFolder}/download`,
    ]
    await using watch = watchGrowth({
      signal,
      measure: () => sizeOf(download),
      onBytes,
      maxBytes: bytes + besides,
      tooMuch: () => unsuitable(what, 'its registry sends more than its manifest says'),
      stallMs: stallLimitMs,
      stalled: () => new AppError('image_pull_failed', `cannot pull ${what}: its registry has stopped sending`),
    })
    await this.#run(args, folder, what, watch.signal, fetchLimitMs)
    onBytes(bytes)
  }

  async #ask(reference: Reference, name: string, options: string[], folder: string, what: string, signal: AbortSignal) {
    const args = ['inspect', '--raw', ...options, ...this.#source(reference, ''), `docker://${name}`]
    return await this.#run(args, folder, what, signal, askLimitMs)
  }

  #source({ registry }: Reference, prefix: string): string[] {
    const { insecureRegistries, authFile } = this.#options
    return [
      ...(insecureRegistries.includes(registry) ? [`--${prefix}tls-verify=false`] : []),
      ...(authFile === undefined ? [] : ['--authfile', authInside]),
    ]
  }

  async #run(args: string[], folder: string, what: string, signal: AbortSignal, limitMs: number): Promise<string> {
    const { tools, authFile } = this.#options
    const readOnly = authFile === undefined ? {} : { [authInside]: authFile }
    const platform = ['--override-os', 'linux', '--override-arch', 'amd64', '--tmpdir', workFolder]
    const command = confinedArguments({ folder, network: true, readOnly }, [tools.skopeo, ...platform, ...args])
    const ended = await run(tools.bwrap, command, { signal, limitMs, maxOutputBytes: maxAnswer }).catch(
      (error: unknown) => {
        if (error instanceof AppError && error.code === 'deadline' && !signal.aborted)
          throw new AppError('image_pull_failed', `cannot pull ${what}: its registry does not answer`, { cause: error })
        throw error
      },
    )
    if (ended.code === 0) return ended.stdout
    if (/bwrap: |execvp/.test(ended.stderr))
      throw new AppError('internal', `cannot pull ${what}: skopeo cannot be run on this host`, { cause: ended.stderr })
    throw skopeoError(ended.stderr, what)
  }
}

function wrongDigest(what: string): AppError {
  return unsuitable(what, 'what its registry sent does not have the digest that was asked for')
}

/** Bytes of all files of a folder; 0 while there is none. */
export async function sizeOf(folder: string): Promise<number> {
  const names = await readdir(folder).catch(() => [])
  const sizes = names.map(async (name) => (await stat(join(folder, name)).catch(() => undefined))?.size ?? 0)
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
}
