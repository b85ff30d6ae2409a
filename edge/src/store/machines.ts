/**
 * What an account holds that its limits count: machines of its sandboxes, room that is kept for sandboxes which the index does not know
 * yet, and snapshots. A kept room goes with the sandbox's next entry in the index, when it is given back, or with its time. The totals are
 * kept by the triggers of `in-use.ts`; nothing here counts rows.
 */

import { holdsMachine, type SandboxState, sandboxStates } from '@portico/shared/lifecycle'
import type { InUse } from '../ports.ts'
import { statement } from './sql.ts'

const holding = `state IN (${sandboxStates
  .filter(holdsMachine)
  .map((state) => `'${state}'`)
  .join(', ')})`

type InUseRow = { sandboxes: number; vcpus: number; mem_mib: number; snapshots: number }

export class MachineTable {
  readonly #inUse
  readonly #isHeld
  readonly #keep
  readonly #drop
  readonly #expire

  constructor(sql: SqlStorage) {
    this.#inUse = statement<InUseRow>(sql, 'SELECT sandboxes, vcpus, mem_mib, snapshots FROM in_use')
    this.#isHeld = statement<{ held: number }, [string, string]>(
      sql,
      `SELECT 1 AS held FROM sandboxes WHERE id = ? AND ${holding} UNION ALL SELECT 1 FROM admissions WHERE sandbox = ?`,
    )
    this.#keep = statement<never, [string, number, number, number]>(
      sql,
      `INSERT INTO admissions (sandbox, vcpus, mem_mib, until) VALUES (?, ?, ?, ?)
       ON CONFLICT (sandbox) DO UPDATE SET until = excluded.until`,
    )
    this.#drop = statement<never, [string]>(sql, 'DELETE FROM admissions WHERE sandbox = ?')
    this.#expire = statement<never, [number]>(sql, 'DELETE FROM admissions WHERE until <= ?')
  }

  inUse(now: number): InUse {
    this.#expire.run(now)
    return this.#inUse.first() ?? { sandboxes: 0, vcpus: 0, mem_mib: 0, snapshots: 0 }
  }

  /** Whether it is counted already. */
  isHeld(sandbox: string): boolean {
    return this.#isHeld.first(sandbox, sandbox) !== undefined
  }

  keep(sandbox: string, vcpus: number, memMib: number, until: number): void {
    this.#keep.run(sandbox, vcpus, memMib, until)
  }

  /** The index knows it now. Old news of one that sleeps leaves the room in which it is about to wake. */
  indexed(sandbox: string, state: SandboxState): void {
    if (state !== 'hibernated') this.drop(sandbox)
  }

  drop(sandbox: string): void {
    this.#drop.run(sandbox)
  }
}
