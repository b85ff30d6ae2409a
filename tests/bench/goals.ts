/** What rows have to show on a machine of two cores under emulation. */

import type { Row } from './stats.ts'

type Judge = (row: Row, rows: readonly Row[]) => Row['goal']

const atMost =
  (limit: number): Judge =>
  ({ p50, unit }) => ({ text: `<= ${limit} ${unit}`, met: p50 <= limit })

const timesFloor =
  (limit: number): Judge =>
  ({ ratio }) =>
    ratio === undefined ? undefined : { text: `<= ${limit}x floor`, met: ratio <= limit }

/** At least the floor's rate divided by `limit`. */
const rateOfFloor =
  (limit: number): Judge =>
  ({ ratio, floor }) =>
    ratio === undefined ? undefined : { text: `<= ${limit}x ${floor?.name}`, met: ratio * limit >= 1 }

/** At least so much of a rate. */
const atLeast =
  (limit: number): Judge =>
  ({ p50, unit }) => ({ text: `>= ${limit} ${unit}`, met: p50 >= limit })

/** A rate no less than that of another row, where that could be measured. */
const noLessThan =
  (other: string): Judge =>
  ({ p50 }, rows) => {
    const found = rows.find(({ name, n }) => n > 0 && name === other)
    return found && { text: `>= ${other}`, met: p50 >= found.p50 }
  }

/** All of them that judge the row. */
const both =
  (...judges: readonly Judge[]): Judge =>
  (found, rows) => {
    const goals = judges.flatMap((judge) => judge(found, rows) ?? [])
    if (goals.length === 0) return undefined
    return { text: goals.map(({ text }) => text).join(' and '), met: goals.every(({ met }) => met) }
  }

/** Faster than each peer that ran; no goal where none did. */
const fasterThanPeers =
  (what: 'checkpoint' | 'restore'): Judge =>
  ({ p50 }, rows) => {
    const peers = rows.filter(({ name, n }) => n > 0 && name.startsWith('peer.') && name.endsWith(what))
    if (peers.length === 0) return undefined
    const limit = Math.min(...peers.map((peer) => peer.p50))
    return { text: `< ${limit} ms (peers)`, met: p50 < limit }
  }

const goals: Readonly<Record<string, Judge>> = {
  'create.template': timesFloor(1.25),
  'create.pool': atMost(35),
  'create.edge': atMost(60),
  'create.image.second': timesFloor(1.25),
  'edge.rps.1': rateOfFloor(2),
  'edge.rps.32': rateOfFloor(2),
  'edge.rps.256': rateOfFloor(2),
  'edge.p50.32': timesFloor(2),
  'port.rps.1': both(rateOfFloor(2), noLessThan('localtunnel.rps.1')),
  'port.rps.32': both(rateOfFloor(2), noLessThan('localtunnel.rps.32')),
  'port.download.100MB': both(atLeast(200), noLessThan('localtunnel.download.100MB')),
  'shell.command': timesFloor(0.5),
  'fork.pause.64MiB': atMost(60),
  'hibernate.64MiB': fasterThanPeers('checkpoint'),
  'snapshot.64MiB': fasterThanPeers('checkpoint'),
  'resume.64MiB': fasterThanPeers('restore'),
  'restore.64MiB': fasterThanPeers('restore'),
}

/** The rows with their goals, judged by all rows of the run. */
export function judged(rows: readonly Row[]): Row[] {
  return rows.map((row) => {
    const goal = row.n > 0 ? goals[row.name]?.(row, rows) : undefined
    return goal === undefined ? row : { ...row, goal }
  })
}
