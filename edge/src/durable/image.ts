/** One image of an account: its state and events, and the work that makes it, in `image/`. Asked for an id that was never begun it writes nothing. */

import { DurableObject } from 'cloudflare:workers'
import type { ImageRecord } from '@portico/shared/api'
import { systemClock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { ShortCache } from '../auth/short-cache.ts'
import type { Services } from '../call.ts'
import type { Env } from '../env.ts'
import { RouteCache } from '../guest/route-cache.ts'
import { errorAnswer } from '../guest/wire.ts'
import { build } from '../image/build.ts'
import { ImageEvents } from '../image/events.ts'
import { eventsAnswer, readEventsRequest } from '../image/events-wire.ts'
import { followed } from '../image/follow.ts'
import { ImageLife, type ImageLifeOptions } from '../image/life.ts'
import { pull } from '../image/pull.ts'
import { imagesKnownMs } from '../image/region.ts'
import { type ImageState, isPullRequest } from '../image/state.ts'
import { type Outcome, outcome } from '../outcome.ts'
import type { ImagePort, NewImage } from '../ports.ts'
import { imageSchema, migrate } from '../store/migrations.ts'
import { objectsOf } from './objects.ts'

/** How many events are read at once. */
const page = 100

export class ImageObject extends DurableObject<Env> implements ImagePort {
  readonly #life: ImageLife
  #events: ImageEvents | undefined
  #changed = Promise.withResolvers<void>()

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    const services: Pick<Services, 'routes' | 'images'> = {
      routes: new RouteCache(systemClock),
      images: new ShortCache(systemClock, imagesKnownMs),
    }
    const make: ImageLifeOptions['make'] = (part, { request, machine = {} }) => {
      const work = { ...part, env, services }
      return isPullRequest(request) ? pull(work, request.reference) : build(work, request, machine)
    }
    this.#life = new ImageLife({
      store: stateStore(ctx, () => this.#forgotten()),
      objects: objectsOf(env),
      clock: systemClock,
      tell: (event) => {
        this.#kept().add(event)
        this.#wakeFollowers()
      },
      background: (work) => ctx.waitUntil(work),
      make,
    })
  }

  begin(input: NewImage): Promise<Outcome<ImageRecord>> {
    return outcome('begin an image', () => this.#life.begin(input))
  }

  async drop(account: string): Promise<void> {
    if (this.#life.state?.account === account) await this.#life.drop()
  }

  /** Its events. */
  override async fetch(request: Request): Promise<Response> {
    const { account, region, after } = readEventsRequest(request)
    const { state } = this.#life
    if (state?.account !== account || state.region !== region) {
      return errorAnswer(new AppError('image_not_found', 'cannot follow the image: there is none of this id').toWire())
    }
    const image = {
      clock: systemClock,
      after: (seq: number) => (this.#life.state === undefined ? [] : this.#kept().after(seq, page)),
      changed: () => this.#changed.promise,
      isOver: () => this.#life.state?.closed ?? true,
    }
    return eventsAnswer(followed(image, after, request.signal))
  }

  override async alarm(): Promise<void> {
    await this.#life.wake()
  }

  #wakeFollowers(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }

  #kept(): ImageEvents {
    migrate(this.ctx.storage, imageSchema)
    this.#events ??= new ImageEvents(this.ctx.storage.sql)
    return this.#events
  }

  #forgotten(): void {
    this.#events = undefined
    this.#wakeFollowers()
  }
}

function stateStore(ctx: DurableObjectState, forgotten: () => void): ImageLifeOptions['store'] {
  const { storage } = ctx
  return {
    get: () => storage.kv.get<ImageState>('image'),
    put: (state) => storage.kv.put('image', state),
    setAlarm: (at) => ctx.waitUntil(at === undefined ? storage.deleteAlarm() : storage.setAlarm(at)),
    clear: async () => {
      await storage.deleteAlarm()
      await storage.deleteAll()
      forgotten()
    },
  }
}
