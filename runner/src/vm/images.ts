/**
 * The images that machines boot from, by name: presets, which are there from the start, and those of a source that comes and goes with what this host
 * pulls. A name of the source is a whole one, with registry and digest, so it never means anything else.
 */

import type { ImageContent } from './driver.ts'

/** What the runner must know of an image. */
export interface VmImage {
  /** Of its file: images of one digest have the same file system, and so templates in common. */
  readonly digest: string
  /** Variables that every process of the sandbox gets unless its caller says otherwise. */
  readonly env: Readonly<Record<string, string>>
  /** Where programs of it begin. */
  readonly workdir: string
  /** Who they are, and what they are: as its author has it. Empty, or not there, is root and nothing. */
  readonly user?: string
  readonly entrypoint?: readonly string[]
  readonly cmd?: readonly string[]
  /** The file system that machines of it boot from, whole. */
  open(): Promise<ImageContent>
}

/** An image of this host as a file. */
export interface ImageFile extends Omit<VmImage, 'open'> {
  readonly erofs: string
}

/** Where images beyond the presets come from. */
export type ImageSource = (name: string) => ImageFile | undefined

export interface VmImages {
  get(name: string): VmImage | undefined
  /** Of the presets. */
  keys(): Iterable<string>
  /** From now on `source` is asked for every name that is no preset. */
  addSource(source: ImageSource): void
}

export class Images<Preset extends VmImage> implements VmImages {
  readonly #presets: ReadonlyMap<string, Preset>
  readonly #make: (file: ImageFile) => Preset
  #source: ImageSource = () => undefined

  /** `make` makes an image of a file. */
  constructor(presets: Iterable<readonly [string, Preset]>, make: (file: ImageFile) => Preset) {
    this.#presets = new Map(presets)
    this.#make = make
  }

  get(name: string): Preset | undefined {
    const preset = this.#presets.get(name)
    if (preset) return preset
    const file = this.#source(name)
    return file && this.#make(file)
  }

  keys(): Iterable<string> {
    return this.#presets.keys()
  }

  addSource(source: ImageSource): void {
    this.#source = source
  }
}
