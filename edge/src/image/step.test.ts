import { FakeClock } from '@portico/shared/clock'
import { expect, test } from 'vitest'
import { guestHeaders } from '../guest/wire.ts'
import { runStep } from './step.ts'
import type { Work } from './work.ts'

/** A sandbox whose command prints nothing and never ends. */
function silent(clock: FakeClock) {
  const asked = Promise.withResolvers<void>()
  const fetch = async () => {
    asked.resolve()
    return new Response(new ReadableStream(), { headers: guestHeaders({}) })
  }
  const work = {
    ...{ id: 'img', principal: { account: 'a', region: 'local' }, objects: {}, requestId: 'r', clock },
    env: { RUNNERS: { idFromName: (name: string) => name, get: () => ({ fetch }) } },
    services: { routes: { find: async () => ({ route: { runner: 'r', generation: 1 }, fresh: true }) } },
    signal: new AbortController().signal,
    tell: () => undefined,
    builds: () => undefined,
  }
  return { work: work as unknown as Work, asked: asked.promise }
}

test('a step of which nothing is heard is given up half a minute after its time', async () => {
  const clock = new FakeClock()
  const { work, asked } = silent(clock)
  const step = runStep(work, 'run', { run: 'sleep 1000', timeout: 5 }, 2)
  const over = expect(step).rejects.toMatchObject({
    code: 'build_failed',
    message: expect.stringContaining('step 2 did not end within 5 s'),
  })
  await asked
  await clock.advance(35_000)
  await over
})
