import { describe, expect, it } from 'vitest'
import { judged } from './goals.ts'
import { row, table, unavailable } from './stats.ts'

const goalsOf = (rows: Parameters<typeof judged>[0]) => judged(rows).map(({ goal }) => goal?.met)

describe('the goals of the benchmark', () => {
  it('hold a start from a template to its floor', () => {
    expect(goalsOf([row('create.template', 'ms', [125], 'floor', [100])])).toEqual([true])
    expect(goalsOf([row('create.template', 'ms', [126], 'floor', [100])])).toEqual([false])
  })

  it('hold a hibernation to the faster peer of the same run', () => {
    const peers = [row('peer.criu.checkpoint', 'ms', [140]), row('peer.gvisor.checkpoint', 'ms', [150])]
    expect(goalsOf([...peers, row('hibernate.64MiB', 'ms', [139])])).toEqual([undefined, undefined, true])
    expect(goalsOf([...peers, row('hibernate.64MiB', 'ms', [141])])).toEqual([undefined, undefined, false])
  })

  it('hold a port to half of its floor and to localtunnel, where that ran', () => {
    const rows = (ours: number) => [
      row('port.rps.1', 'req/s', [ours], 'worker-object.rps.1', [1000]),
      row('localtunnel.rps.1', 'req/s', [600]),
    ]
    expect(goalsOf(rows(600))).toEqual([true, undefined])
    expect(goalsOf(rows(599))).toEqual([false, undefined])
    expect(goalsOf(rows(599).slice(0, 1))).toEqual([true])
    expect(goalsOf([row('port.rps.1', 'req/s', [499], 'worker-object.rps.1', [1000])])).toEqual([false])
  })

  it('judge nothing by a peer that did not run, nor a row without a number', () => {
    const peer = unavailable('peer.criu.restore', 'ms', 'no such kernel')
    expect(goalsOf([peer, row('resume.64MiB', 'ms', [1])])).toEqual([undefined, undefined])
    expect(goalsOf([unavailable('create.pool', 'ms', 'it failed')])).toEqual([undefined])
  })
})

it('says below the table why a row has no number', () => {
  const text = table([row('a', 'ms', [3, 1, 2]), unavailable('b', 'ms', 'this host cannot')])
  expect(text).toMatch(/^a +3 +2 +3 +ms$/m)
  expect(text).toContain('b: not measured: this host cannot\n')
})
