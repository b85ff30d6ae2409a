import { AppError } from '@portico/shared/errors'
import { expect, it } from 'vitest'
import { Proc } from './proc.ts'
import { run, runChecked } from './run.ts'

const limitMs = 10_000

it('tells how a program ended and what it printed', async () => {
  const finished = await run('sh', ['-c', 'echo out; echo err >&2; exit 3'], { limitMs })
  expect(finished).toEqual({ code: 3, signal: null, stdout: 'out\n', stderr: 'err\n' })
})

it('tells the signal that ended a program', async () => {
  expect(await run('sh', ['-c', 'kill -TERM $$'], { limitMs })).toMatchObject({ code: null, signal: 'SIGTERM' })
})

it('keeps output up to its limit while the program goes on to its end', async () => {
  const finished = await run('sh', ['-c', 'head -c 1000000 /dev/zero; exit 4'], { limitMs, maxOutputBytes: 100 })
  expect(finished.code).toBe(4)
  expect(finished.stdout).toHaveLength(100)
})

it('rejects for a program that must succeed, with what it said as the cause alone', async () => {
  const error = await runChecked('/bin/sh', ['-c', 'echo /secret/path >&2; exit 1'], { limitMs }).catch(
    (thrown) => thrown,
  )
  expect(error).toMatchObject({
    code: 'internal',
    message: 'cannot finish sh: it ended with code 1',
    cause: '/secret/path',
  })
})

it('says that a program is not installed', async () => {
  await expect(run('no-such-program', [], { limitMs })).rejects.toThrow(
    'cannot start no-such-program: it is not installed',
  )
})

it('kills the whole group at the time limit', async () => {
  const start = performance.now()
  await expect(run('sh', ['-c', 'sleep 60 & sleep 60'], { limitMs: 100 })).rejects.toMatchObject({ code: 'deadline' })
  expect(performance.now() - start).toBeLessThan(5000)
})

it('kills the program when its caller gives up, with the reason of the caller', async () => {
  const reason = new AppError('cancelled', 'enough')
  const controller = new AbortController()
  const running = run('sh', ['-c', 'sleep 60'], { limitMs, signal: controller.signal })
  controller.abort(reason)
  await expect(running).rejects.toBe(reason)
})

it('starts nothing for a caller who gave up before', async () => {
  await expect(run('sh', ['-c', 'true'], { limitMs, signal: AbortSignal.abort(new Error('no')) })).rejects.toThrow('no')
})

it('leaves no child behind', async () => {
  await run('sh', ['-c', 'sleep 60 & exit 0'], { limitMs: 200 }).catch(() => undefined)
  const proc = new Proc()
  const stats = await Promise.all((await proc.list()).map((pid) => proc.stat(pid)))
  expect(stats.filter((stat) => stat?.parent === process.pid && stat.state !== 'Z')).toEqual([])
})
