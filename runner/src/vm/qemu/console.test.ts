import { duplexPair } from 'node:stream'
import { FakeClock } from '@portico/shared/clock'
import { expect, it } from 'vitest'
import { Console } from './console.ts'

it('keeps the end of what the guest prints', async () => {
  const [ours, guest] = duplexPair()
  const console = new Console(ours, new FakeClock())
  await new Promise((written) => guest.write('booting\nportico-agent: cannot find the image\n', written))
  expect(console.text()).toBe('booting\nportico-agent: cannot find the image\n')
  console.close()
})

/** Lets everything that is ready to happen happen. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await new Promise((done) => setImmediate(done))
}

it('reads at a limited pace, so that the guest of an endless console waits', async () => {
  const clock = new FakeClock()
  const [ours, guest] = duplexPair()
  const console = new Console(ours, clock)
  const piece = Buffer.alloc(16 * 1024, 'x')
  let taken = 0
  const print = () =>
    void guest.write(piece, () => {
      taken += piece.length
      print()
    })
  print()
  await settled()
  const before = taken
  expect(before).toBeLessThan(200 * 1024)
  await clock.advance(100)
  await settled()
  expect(taken).toBe(before)
  await clock.advance(1000)
  await settled()
  expect(taken).toBeGreaterThan(before)
  expect(console.text().length).toBe(16 * 1024)
  console.close()
  expect(clock.pending).toBe(0)
})
