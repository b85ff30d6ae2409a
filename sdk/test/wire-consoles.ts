/** Records of the wire server's consoles; their sockets are the tests'. */

import { type ConsoleRecord, consoleLinkRequest, consoleRequest, type RunRecord } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { parse, type SeenRequest } from './wire-request.ts'

export class WireConsoles {
  readonly all = new Map<string, ConsoleRecord>()

  answer({ id: run }: RunRecord, seen: SeenRequest, sub?: string, last?: string): [number, unknown] {
    if (sub === undefined && seen.method === 'POST') return [201, this.#make(run, seen)]
    if (sub === undefined) return [200, { consoles: [...this.all.values()].filter((one) => one.run === run) }]
    const found = this.all.get(sub)
    if (found === undefined) throw new AppError('not_found', `cannot find the console ${sub}`)
    if (last === 'links') {
      const { access, expires_in } = parse(consoleLinkRequest, seen)
      const expires_at = new Date(Date.UTC(2026, 0, 1) + expires_in * 1000).toISOString()
      return [201, { url: `http://api.test/console/#/c/${run}/${sub}?token=T`, token: 'T', access, expires_at }]
    }
    if (seen.method === 'DELETE') this.all.delete(sub)
    return [200, found]
  }

  #make(run: string, seen: SeenRequest): ConsoleRecord {
    const { name, cols, rows } = parse(consoleRequest, seen)
    const made: ConsoleRecord = {
      id: `con${this.all.size}`,
      run,
      process: 'proc0',
      ...(name === undefined ? {} : { name }),
      cols,
      rows,
      state: 'running',
      viewers: 0,
      created_at: '2026-01-02T03:04:05.000Z',
    }
    this.all.set(made.id, made)
    return made
  }
}
