/** Images of the wire server's account. What happens to one on its way is a script: a function of the test, or one that pulls and builds whatever it is asked for. */

import type { ServerResponse } from 'node:http'
import { type BuildStep, type ImageEvent, type ImageRecord, type ImageRequest, imageRequest } from '@portico/shared/api'
import { AppError, type ErrorCode } from '@portico/shared/errors'
import { newImageId } from '@portico/shared/ids'
import { parse, type SeenRequest } from './wire-request.ts'

export type ImageScript = (image: WireImage, request: ImageRequest) => unknown

export class WireImage {
  record: ImageRecord
  readonly events: ImageEvent[] = []
  readonly #watchers = new Set<() => void>()

  constructor(record: ImageRecord) {
    this.record = record
  }

  progress(phase: string, about: object = {}): void {
    this.tell({ event: 'progress', phase, ...about } as ImageEvent)
  }

  output(text: string, stream: 'stdout' | 'stderr' = 'stdout'): void {
    this.tell({ event: 'output', stream, text })
  }

  ready(): void {
    this.record = { ...this.record, status: 'ready', size_bytes: 5_000_000 }
    this.tell({ event: 'ready', image: this.record })
  }

  fail(code: ErrorCode, error: string): void {
    this.record = { ...this.record, status: 'failed', reason: error, code }
    this.tell({ event: 'failed', error, code })
  }

  tell(event: ImageEvent): void {
    this.events.push(event)
    for (const watcher of this.#watchers) watcher()
  }

  /** Whether no more will be told. */
  get isOver(): boolean {
    return this.record.status === 'ready' || this.record.status === 'failed'
  }

  changed(): Promise<void> {
    return new Promise((resolve) => {
      const once = () => {
        this.#watchers.delete(once)
        resolve()
      }
      this.#watchers.add(once)
    })
  }
}

const mib = 2 ** 20

/** Ready at once, after all that is usual. */
function usual(image: WireImage, request: ImageRequest): void {
  if ('reference' in request) pull(image, request.reference)
  else build(image, request.steps)
  if (!image.isOver) image.ready()
}

function pull(image: WireImage, reference: string): void {
  if (reference.includes('no-such')) {
    image.fail('image_missing', `cannot pull ${reference}: its registry does not have it`)
    return
  }
  image.progress('resolve')
  image.progress('pull', { done_bytes: 3 * mib, total_bytes: 3 * mib })
  image.progress('unpack')
  image.progress('erofs')
}

function build(image: WireImage, steps: readonly BuildStep[]): void {
  image.progress('create')
  for (const [index, { run }] of steps.entries()) {
    image.progress('step', { step: index + 1, command: run })
    if (run === 'false') {
      image.fail('build_failed', `cannot build: step ${index + 1} ended with 1`)
      return
    }
    image.output(`${run}\n`)
  }
  image.progress('snapshot')
}

export class WireImages {
  /** What runners can boot. */
  names: readonly string[] = ['node', 'python']
  readonly own = new Map<string, WireImage>()
  script: ImageScript = usual

  answer(seen: SeenRequest, name?: string): [number, unknown] {
    if (name === undefined && seen.method === 'POST') return [202, this.#make(parse(imageRequest, seen))]
    if (name === undefined) {
      const own = [...this.own.values()].map(({ record }) => record).reverse()
      return [200, { images: this.names, own }]
    }
    const image = this.#find(name)
    if (seen.method === 'DELETE') {
      this.own.delete(image.record.id)
      if (!image.isOver) image.fail('cancelled', 'cannot finish the image: it was deleted')
    }
    return [200, image.record]
  }

  /** Server-sent events, from the one after `Last-Event-ID`. */
  async follow(name: string, seen: SeenRequest, response: ServerResponse): Promise<void> {
    const image = this.#find(name)
    let at = Number(seen.headers['last-event-id'] ?? 0)
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': here\n\n')
    for (;;) {
      for (const event of image.events.slice(at))
        response.write(`id: ${++at}\nevent: ${event.event}\ndata: ${JSON.stringify(event)}\n\n`)
      if (image.isOver) {
        response.end()
        return
      }
      await Promise.race([image.changed(), seen.abandoned])
      if (response.destroyed) return
    }
  }

  #find(name: string): WireImage {
    const wanted = decodeURIComponent(name)
    for (const image of this.own.values()) {
      const { record } = image
      const called = `${record.name}:${record.tag ?? 'latest'}`
      if (record.id === wanted || called === wanted || (record.name === wanted && called.endsWith(':latest')))
        return image
    }
    throw new AppError('image_not_found', `cannot find image ${wanted}`)
  }

  #make(request: ImageRequest): ImageRecord {
    const { name, tag } = request
    const about = 'reference' in request ? { reference: request.reference } : { from: request.from }
    const image = new WireImage({
      id: newImageId(),
      kind: 'reference' in request ? 'pull' : 'build',
      status: 'reference' in request ? 'pulling' : 'building',
      ...(name === undefined ? {} : { name, tag: tag ?? 'latest' }),
      ...about,
      size_bytes: 0,
      created_at: new Date().toISOString(),
    })
    this.own.set(image.record.id, image)
    const made = image.record
    void this.script(image, request)
    return made
  }
}
