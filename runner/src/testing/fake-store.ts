/** A store of images without a registry, for tests: what it is told of can be pulled, once a test lets it. */

import { AppError } from '@portico/shared/errors'
import { formatReference, parseReference, resolvedName } from '../image/reference.ts'
import type { ImageHold, PulledImage, PullOptions, StoredImage } from '../image/store.ts'
import type { Store } from '../policy/host-images.ts'

const config = { env: { FROM: 'image' }, workdir: '/app', user: 'app', entrypoint: ['/run'], cmd: ['it'] }

/** The digest that an image with these layers has. */
export const digestOf = (letter: string) => `sha256:${letter.repeat(64)}`

export class FakeStore implements Store {
  /** References that a registry has, with the letter of their digest. */
  readonly registry: Map<string, string>
  /** What `pull` was called for, in order. */
  readonly pulls: string[] = []
  /** What each pull waits for. */
  gate: Promise<void> = Promise.resolve()
  readonly #here = new Map<string, StoredImage>()
  readonly #held = new Map<string, number>()

  constructor(registry: Readonly<Record<string, string>>) {
    this.registry = new Map(Object.entries(registry))
  }

  get(name: string): StoredImage | undefined {
    const parsed = parseReference(name)
    const whole = formatReference(parsed)
    const named = parsed.digest === undefined ? undefined : this.#here.get(resolvedName(parsed, parsed.digest))
    return named ?? [...this.#here.values()].find(({ references }) => references.includes(whole))
  }

  async pull(text: string, { refresh = false, signal, onProgress }: PullOptions = {}): Promise<PulledImage> {
    const here = this.get(text)
    if (here && !refresh) return { image: here, tookMs: {} }
    this.pulls.push(text)
    onProgress?.({ phase: 'pull', doneBytes: 1, totalBytes: 2 })
    const aborted = new Promise<never>((_, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
    })
    await Promise.race([this.gate, aborted])
    const parsed = parseReference(text)
    const letter = this.registry.get(text)
    if (letter === undefined) throw new AppError('image_missing', `cannot pull the image: there is no ${text}`)
    const digest = digestOf(letter)
    const name = resolvedName(parsed, digest)
    const references = [...(this.#here.get(name)?.references ?? []), text]
    const files = { sizeBytes: 5, fileDigest: digest, erofs: `/nowhere/${letter}`, rootfs: digest }
    const image = { name, reference: text, references, digest, config, ...files }
    this.#here.set(name, image)
    return { image, tookMs: { pull: 1 } }
  }

  list(): StoredImage[] {
    return [...this.#here.values()]
  }

  async remove(name: string): Promise<void> {
    const image = this.get(name)
    if (!image) throw new AppError('image_not_found', 'cannot remove the image: there is none')
    if (this.isHeld(image.name)) throw new AppError('conflict', 'cannot remove the image: it is in use')
    this.#here.delete(image.name)
  }

  hold(name: string): ImageHold | undefined {
    const image = this.get(name)
    if (!image) return undefined
    const add = (by: number) => this.#held.set(image.name, (this.#held.get(image.name) ?? 0) + by)
    add(1)
    return { image, [Symbol.dispose]: () => void add(-1) }
  }

  isHeld(name: string): boolean {
    return (this.#held.get(name) ?? 0) > 0
  }

  figures() {
    const { size: images } = this.#here
    return {
      images,
      bytes: 5 * images,
      limitBytes: 100,
      pullsUnderWay: 0,
      pullsDone: images,
      pullsFailed: 0,
      pulledBytes: 5 * images,
      evicted: 0,
    }
  }

  async close(): Promise<void> {}
}
