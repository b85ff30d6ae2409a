import { type Argument, properties } from './argument.ts'

export interface MemoryOptions {
  readonly file: string
  readonly sizeMib: number
  /**
   * `own`: the machine alone uses the file, which then holds all of its memory at any time. `shared`: many machines map the file, each keeps its own
   * changes to itself, and none of them could write it.
   */
  readonly use: 'own' | 'shared'
}

/** The guest's memory: a file, so that all machines of a template share the pages that they have not changed. */
export function memory(id: string, { file, sizeMib, use }: MemoryOptions): Argument[] {
  const rights = use === 'own' ? { share: true } : { share: false, readonly: true, rom: false }
  return [
    ['-m', properties(undefined, { size: `${sizeMib}M` })],
    ['-object', properties('memory-backend-file', { id, 'mem-path': file, size: `${sizeMib}M`, ...rights })],
  ]
}
