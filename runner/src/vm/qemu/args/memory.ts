import { type Argument, properties } from './argument.ts'

/** The guest's memory as an object of its own, private to this process. */
export function memory(id: string, sizeMib: number): Argument[] {
  return [
    ['-m', properties(undefined, { size: `${sizeMib}M` })],
    ['-object', properties('memory-backend-ram', { id, size: `${sizeMib}M` })],
  ]
}
